"""The tables. What must hold is a constraint here:

- nothing is stored for a voter who has not agreed to that version of the notice (foreign key);
- a battle is finished exactly when it has two traces (check), and a trace is never cancelled or failed (check);
- a battle has at most one vote (unique), and only a battle in state "voted" has one (foreign key on id and state).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from playground.decoding.trace import canonical_json
from playground.feedback.damage import reading

APPLICATION_ID = int.from_bytes(b"ADPg", "big")  # marks the SQLite file as ours
SCHEMA_VERSION = 1  # number of the newest migration; SQLite's user_version
RUNNING, FINISHED, VOTED, FAILED = STATES = ("running", "finished", "voted", "failed")


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime as text in UTC with microseconds: it sorts, and one moment has one text."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else utc_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        with reading("A stored time"):
            return None if value is None else datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%f%z")


class CanonicalJson(TypeDecorator[Any]):
    """Plain values as canonical JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        with reading("A stored list or object"):
            return None if value is None else json.loads(value)


class Packed(LargeBinary):
    """Bytes as they are; SQLAlchemy's own type would make a number into that many zeros."""

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        return None


def utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


class AgreementRow(Base):
    """A voter has agreed to a version of the notice."""

    __tablename__ = "agreements"

    voter: Mapped[str] = mapped_column(String(128), primary_key=True)
    notice: Mapped[str] = mapped_column(String(64), primary_key=True)
    created: Mapped[datetime] = mapped_column(UtcTime)


class TraceRow(Base):
    """A finished trace, packed (trace_codec). The named columns are for queries; `packed` is the record."""

    __tablename__ = "traces"
    __table_args__ = (CheckConstraint("stop IN ('end', 'length', 'stop_string')", name="finished"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    policy: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    checkpoint: Mapped[str | None] = mapped_column(Text)
    stop: Mapped[str] = mapped_column(String(16))
    tokens: Mapped[int]
    packed: Mapped[bytes] = mapped_column(Packed)


class BattleRow(Base):
    """Two arms on one prompt: running → finished → voted, or running → failed."""

    __tablename__ = "battles"
    __table_args__ = (
        ForeignKeyConstraint(["voter", "notice"], ["agreements.voter", "agreements.notice"]),
        UniqueConstraint("id", "state"),
        CheckConstraint("state IN ('running', 'finished', 'voted', 'failed')", name="state"),
        CheckConstraint("mode IN ('collect', 'evaluate')", name="mode"),
        CheckConstraint("\"left\" IN ('a', 'b')", name="left"),
        CheckConstraint("propensity > 0 AND propensity <= 1", name="propensity"),
        CheckConstraint("propensity IS NOT NULL OR NOT blind", name="blind_has_propensity"),
        CheckConstraint(
            "(state IN ('finished', 'voted')) = (trace_a IS NOT NULL AND trace_b IS NOT NULL AND finished IS NOT NULL)",
            name="finished_has_traces",
        ),
        CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", name="failed_has_reason"),
        CheckConstraint("trace_a <> trace_b", name="own_traces"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    mode: Mapped[str] = mapped_column(String(16))
    blind: Mapped[bool]
    request: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    family: Mapped[str | None] = mapped_column(Text)
    arm_a: Mapped[str] = mapped_column(Text)
    arm_b: Mapped[str] = mapped_column(Text)
    left: Mapped[str] = mapped_column(String(1))
    propensity: Mapped[float | None]
    voter: Mapped[str] = mapped_column(String(128))
    notice: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(UtcTime)
    expires: Mapped[datetime] = mapped_column(UtcTime)
    finished: Mapped[datetime | None] = mapped_column(UtcTime)
    reason: Mapped[str | None] = mapped_column(Text)
    trace_a: Mapped[int | None] = mapped_column(ForeignKey("traces.id"), unique=True)
    trace_b: Mapped[int | None] = mapped_column(ForeignKey("traces.id"), unique=True)

    a: Mapped[TraceRow | None] = relationship(foreign_keys=[trace_a])
    b: Mapped[TraceRow | None] = relationship(foreign_keys=[trace_b])


class VoteRow(Base):
    """The one vote of a battle. `checksum` covers everything an export says about it (checksum.py)."""

    __tablename__ = "votes"
    __table_args__ = (
        ForeignKeyConstraint(["battle_id", "state"], ["battles.id", "battles.state"]),
        CheckConstraint("state = 'voted'", name="state"),
        CheckConstraint("outcome IN ('a', 'b', 'tie', 'both_bad')", name="outcome"),
        CheckConstraint("strength IN ('slight', 'much')", name="strength"),
        CheckConstraint("seconds >= 0", name="seconds"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    battle_id: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(String(16), default=VOTED)
    outcome: Mapped[str] = mapped_column(String(16))
    strength: Mapped[str | None] = mapped_column(String(16))
    tags: Mapped[list[str]] = mapped_column(CanonicalJson)
    spans: Mapped[list[Any]] = mapped_column(CanonicalJson)
    seconds: Mapped[float | None]
    created: Mapped[datetime] = mapped_column(UtcTime)
    checksum: Mapped[str] = mapped_column(String(64))

    battle: Mapped[BattleRow] = relationship()
