"""Between rows and plain values: nothing outside this folder sees a row."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from playground.decoding.trace import Request, Trace
from playground.errors import PlaygroundError
from playground.feedback.checksum import vote_checksum
from playground.feedback.damage import DamageError, reading
from playground.feedback.schema import RUNNING, VOTED, BattleRow, TraceRow, VoteRow
from playground.feedback.trace_codec import pack, unpack
from playground.records import Battle, Vote

COMPLETE = ("end", "length", "stop_string")


def battle_row(battle: Battle, expires: datetime) -> BattleRow:
    """A new, running battle."""
    arm_a, arm_b = battle.arms
    return BattleRow(
        id=battle.id,
        state=RUNNING,
        mode=battle.mode,
        blind=battle.blind,
        request=asdict(battle.request),
        family=battle.family,
        arm_a=arm_a,
        arm_b=arm_b,
        left=battle.left,
        propensity=battle.propensity,
        voter=battle.voter,
        notice=battle.notice,
        created=battle.created,
        expires=expires,
    )


def battle_of(row: BattleRow) -> Battle:
    with reading(f"Battle {row.id!r:.70}"):
        request = Request(**{**row.request, "stop": tuple(row.request["stop"])})
    return Battle(
        id=row.id,
        mode=row.mode,  # type: ignore[arg-type]
        blind=row.blind,
        request=request,
        family=row.family,
        arms=(row.arm_a, row.arm_b),
        left=row.left,  # type: ignore[arg-type]
        propensity=row.propensity,
        voter=row.voter,
        notice=row.notice,
        created=row.created,
    )


def trace_rows(traces: tuple[Trace, Trace]) -> tuple[TraceRow, TraceRow]:
    """Both replies of a battle. Raises PlaygroundError where one was stopped or failed."""
    if len(traces) != 2:
        raise PlaygroundError(f"A battle takes two replies, got {len(traces)}.")
    return _trace_row(traces[0]), _trace_row(traces[1])


def _trace_row(trace: Trace) -> TraceRow:
    if trace.stop not in COMPLETE:
        raise PlaygroundError(f"Both replies must have finished; one ended with {trace.stop!r}.")
    return TraceRow(
        digest=trace.id,
        policy=trace.policy,
        model=trace.model,
        checkpoint=trace.checkpoint,
        stop=trace.stop,
        tokens=len(trace.steps),
        packed=pack(trace),
    )


def traces_of(row: BattleRow) -> tuple[Trace, Trace]:
    """Both traces, candidate a first. Raises PlaygroundError where there are none yet, or one is damaged."""
    if row.a is None or row.b is None:
        raise PlaygroundError(f"A battle has traces once both replies have finished; this one is {row.state}.")
    return trace_of(row.a), trace_of(row.b)


def trace_of(row: TraceRow) -> Trace:
    with reading(f"Trace {row.id!r:.70}"):
        trace = unpack(row.packed)
    if trace.id != row.digest:
        raise DamageError(f"Trace {row.id!r:.70} is not the one that was stored; restore the database from a copy.")
    return trace


def vote_row(vote: Vote, checksum: str) -> VoteRow:
    return VoteRow(
        id=vote.id,
        battle_id=vote.battle,
        state=VOTED,
        outcome=vote.outcome,
        strength=vote.strength,
        tags=list(vote.tags),
        spans=list(vote.spans),
        seconds=vote.seconds,
        created=vote.created,
        checksum=checksum,
    )


def vote_of(row: VoteRow) -> Vote:
    with reading(f"Vote {row.id!r:.70}"):
        return Vote(
            id=row.id,
            battle=row.battle_id,
            outcome=row.outcome,  # type: ignore[arg-type]
            seconds=row.seconds,
            created=row.created,
            strength=row.strength,  # type: ignore[arg-type]
            tags=tuple(row.tags),
            spans=tuple(row.spans),
        )


def sealed(row: VoteRow) -> tuple[Battle, Vote]:
    """A vote and its battle. Raises DamageError where a value of either has changed since the vote, or a row is gone."""
    with reading(f"Vote {row.id!r:.70}"):
        vote, battle, row_a, row_b = vote_of(row), battle_of(row.battle), row.battle.a, row.battle.b
        if row_a is None or row_b is None or vote_checksum(battle, vote, (row_a.digest, row_b.digest)) != row.checksum:
            raise DamageError(f"Vote {row.id!r:.70} does not match its checksum; restore the database from a copy.")
    return battle, vote
