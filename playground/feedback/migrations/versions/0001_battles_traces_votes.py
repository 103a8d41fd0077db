"""Agreements, traces, battles and votes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _agreements()
    _traces()
    _battles()
    _votes()


def _agreements() -> None:
    op.create_table(
        "agreements",
        sa.Column("voter", sa.String(128), nullable=False),
        sa.Column("notice", sa.String(64), nullable=False),
        sa.Column("created", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("voter", "notice", name=op.f("pk_agreements")),
    )


def _traces() -> None:
    op.create_table(
        "traces",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=True),
        sa.Column("stop", sa.String(16), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("stop IN ('end', 'length', 'stop_string')", name=op.f("ck_traces_finished")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_traces")),
    )


def _battles() -> None:
    finished = "trace_a IS NOT NULL AND trace_b IS NOT NULL AND finished IS NOT NULL"
    op.create_table(
        "battles",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=True),
        sa.Column("arm_a", sa.Text(), nullable=False),
        sa.Column("arm_b", sa.Text(), nullable=False),
        sa.Column("left", sa.String(1), nullable=False),
        sa.Column("propensity", sa.Double(), nullable=True),
        sa.Column("voter", sa.String(128), nullable=False),
        sa.Column("notice", sa.String(64), nullable=False),
        sa.Column("created", sa.String(27), nullable=False),
        sa.Column("expires", sa.String(27), nullable=False),
        sa.Column("finished", sa.String(27), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("trace_a", sa.Integer(), nullable=True),
        sa.Column("trace_b", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_battles")),
        sa.ForeignKeyConstraint(
            ["voter", "notice"], ["agreements.voter", "agreements.notice"], name=op.f("fk_battles_voter")
        ),
        sa.ForeignKeyConstraint(["trace_a"], ["traces.id"], name=op.f("fk_battles_trace_a")),
        sa.ForeignKeyConstraint(["trace_b"], ["traces.id"], name=op.f("fk_battles_trace_b")),
        sa.UniqueConstraint("id", "state", name=op.f("uq_battles_id")),
        sa.UniqueConstraint("trace_a", name=op.f("uq_battles_trace_a")),
        sa.UniqueConstraint("trace_b", name=op.f("uq_battles_trace_b")),
        sa.CheckConstraint("state IN ('running', 'finished', 'voted', 'failed')", name=op.f("ck_battles_state")),
        sa.CheckConstraint("mode IN ('collect', 'evaluate')", name=op.f("ck_battles_mode")),
        sa.CheckConstraint("\"left\" IN ('a', 'b')", name=op.f("ck_battles_left")),
        sa.CheckConstraint("propensity > 0 AND propensity <= 1", name=op.f("ck_battles_propensity")),
        sa.CheckConstraint("propensity IS NOT NULL OR NOT blind", name=op.f("ck_battles_blind_has_propensity")),
        sa.CheckConstraint(
            f"(state IN ('finished', 'voted')) = ({finished})", name=op.f("ck_battles_finished_has_traces")
        ),
        sa.CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", name=op.f("ck_battles_failed_has_reason")),
        sa.CheckConstraint("trace_a <> trace_b", name=op.f("ck_battles_own_traces")),
    )


def _votes() -> None:
    op.create_table(
        "votes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("battle_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("strength", sa.String(16), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("spans", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("created", sa.String(27), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_votes")),
        sa.ForeignKeyConstraint(
            ["battle_id", "state"], ["battles.id", "battles.state"], name=op.f("fk_votes_battle_id")
        ),
        sa.UniqueConstraint("battle_id", name=op.f("uq_votes_battle_id")),
        sa.CheckConstraint("state = 'voted'", name=op.f("ck_votes_state")),
        sa.CheckConstraint("outcome IN ('a', 'b', 'tie', 'both_bad')", name=op.f("ck_votes_outcome")),
        sa.CheckConstraint("strength IN ('slight', 'much')", name=op.f("ck_votes_strength")),
        sa.CheckConstraint("seconds >= 0", name=op.f("ck_votes_seconds")),
    )
