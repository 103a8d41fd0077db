"""Votes as preference records, and the count of what was left out.

Which votes are read is settled at the start; they are then fetched a few at a time, so that a long export never
keeps a voter waiting. Every vote of the table is either given or counted: one that an index no longer finds, or whose
battle or replies are gone, is damaged like one whose values have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from playground.feedback.connection import Database
from playground.feedback.damage import DamageError
from playground.feedback.rows import sealed, traces_of
from playground.feedback.schema import VOTED, BattleRow, VoteRow
from playground.records import Battle, Mode, Preference, Vote

BATCH = 50
NOT_BLIND, OTHER_MODE, DAMAGED, MISSING = REASONS = ("not_blind", "other_mode", "damaged", "missing")


class Selection:
    """An iterable of preferences, oldest vote first. `excluded` counts the votes left out by the last iteration.

    not_blind    cast in Compare, where the names were visible, and `include_unblind` is False
    other_mode   of another mode than the one asked for
    damaged      a value or a trace no longer matches its checksum, or a row that belongs to the vote is gone
    missing      a battle that was voted on, without a vote in the table
    """

    def __init__(self, database: Database, include_unblind: bool = False, mode: Mode | None = None) -> None:
        self._database = database
        self.include_unblind = include_unblind
        self.mode = mode
        self.excluded: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Preference]:
        self.excluded = Counter(dict.fromkeys(REASONS, 0))
        ids = iter(self._ids())
        while batch := list(islice(ids, BATCH)):
            yield from self._batch(batch)

    def _ids(self) -> list[str]:
        """Every vote once, oldest first. An id that is no text is damaged, and so is one of two votes of the same id."""
        with self._database.reading() as session:
            listed = session.scalars(select(VoteRow.id).order_by(VoteRow.created, VoteRow.id)).all()
            voted = session.scalar(select(func.count()).where(BattleRow.state == VOTED)) or 0
        ids = [vote for vote in dict.fromkeys(listed) if isinstance(vote, str)]
        self.excluded[DAMAGED] += len(listed) - len(ids)
        self.excluded[MISSING] += max(0, voted - len(listed))
        return ids

    def _batch(self, ids: list[str]) -> list[Preference]:
        try:
            found = self._fetch(ids)
        except DamageError:  # a value that is not even JSON or a time: find its row
            if len(ids) > 1:
                return [preference for vote in ids for preference in self._batch([vote])]
            found = {}
        preferences = (self._preference(found.get(vote)) for vote in ids)
        return [preference for preference in preferences if preference is not None]

    def _fetch(self, ids: list[str]) -> dict[str, VoteRow]:
        with self._database.reading() as session:
            return {vote.id: vote for vote in _rows(session, ids) if vote is not None}

    def _preference(self, row: VoteRow | None) -> Preference | None:
        try:
            if row is None:
                raise DamageError("A vote that is listed is not found.")
            battle, vote = sealed(row)
            reason = self._refusal(battle)
            preference = None if reason else _record(battle, vote, row)
        except DamageError:
            preference, reason = None, DAMAGED
        if reason:
            self.excluded[reason] += 1
        return preference

    def _refusal(self, battle: Battle) -> str | None:
        if not battle.blind and not self.include_unblind:
            return NOT_BLIND
        if self.mode is not None and battle.mode != self.mode:
            return OTHER_MODE
        return None


def _rows(session: Session, ids: list[str]) -> Iterator[VoteRow | None]:
    """The votes of these ids with all that belongs to them; None for a row without a readable id."""
    battle = joinedload(VoteRow.battle)
    whole = (battle.joinedload(BattleRow.a), battle.joinedload(BattleRow.b))
    yield from session.scalars(select(VoteRow).where(VoteRow.id.in_(ids)).options(*whole))


def _record(battle: Battle, vote: Vote, row: VoteRow) -> Preference:
    """The record of a vote. Raises DamageError where a trace has changed since it was stored."""
    a, b = traces_of(row.battle)
    return Preference(
        vote_id=vote.id,
        battle_id=battle.id,
        source="human",
        blind=battle.blind,
        mode=battle.mode,
        outcome=vote.outcome,
        left=battle.left,
        propensity=battle.propensity,
        prompt=battle.request.prompt,
        family=battle.family,
        a=(a,),
        b=(b,),
        strength=vote.strength,
        tags=vote.tags,
        spans=vote.spans,
    )
