"""Votes as preference records, and the count of what was left out.

Which votes are read is settled at the start; they are then fetched a few at a time, so that a long export never
keeps a voter waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from playground.errors import PlaygroundError
from playground.feedback.checksum import vote_checksum
from playground.feedback.connection import Database
from playground.feedback.rows import battle_of, traces_of, vote_of
from playground.feedback.schema import BattleRow, VoteRow
from playground.records import Mode, Preference

BATCH = 50
NOT_BLIND, OTHER_MODE, DAMAGED = REASONS = ("not_blind", "other_mode", "damaged")


class Selection:
    """An iterable of preferences, oldest vote first. `excluded` counts the votes left out by the last iteration.

    not_blind    cast in Compare, where the names were visible, and `include_unblind` is False
    other_mode   of another mode than the one asked for
    damaged      a value or a trace no longer matches its checksum
    """

    def __init__(self, database: Database, include_unblind: bool = False, mode: Mode | None = None) -> None:
        self._database = database
        self.include_unblind = include_unblind
        self.mode = mode
        self.excluded: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Preference]:
        self.excluded = Counter(dict.fromkeys(REASONS, 0))
        with self._database.reading() as session:
            ids = iter(session.scalars(select(VoteRow.id).order_by(VoteRow.created, VoteRow.id)).all())
        while batch := list(islice(ids, BATCH)):
            yield from self._batch(batch)

    def _batch(self, ids: list[str]) -> list[Preference]:
        try:
            found = self._fetch(ids)
        except PlaygroundError:
            raise
        except (ValueError, TypeError):  # a value that is not even JSON or a time: find its row
            if len(ids) > 1:
                return [preference for vote in ids for preference in self._batch([vote])]
            self.excluded[DAMAGED] += 1
            return []
        preferences = (self._preference(found[vote]) for vote in ids if vote in found)
        return [preference for preference in preferences if preference is not None]

    def _fetch(self, ids: list[str]) -> dict[str, VoteRow]:
        battle = joinedload(VoteRow.battle)
        query = (
            select(VoteRow)
            .where(VoteRow.id.in_(ids))
            .options(battle.joinedload(BattleRow.a), battle.joinedload(BattleRow.b))
        )
        with self._database.reading() as session:
            return {vote.id: vote for vote in session.scalars(query)}

    def _preference(self, row: VoteRow) -> Preference | None:
        reason = self._refusal(row)
        try:
            preference = None if reason else checked_preference(row)
        except PlaygroundError:
            preference, reason = None, DAMAGED
        if reason:
            self.excluded[reason] += 1
        return preference

    def _refusal(self, row: VoteRow) -> str | None:
        if not row.battle.blind and not self.include_unblind:
            return NOT_BLIND
        if self.mode is not None and row.battle.mode != self.mode:
            return OTHER_MODE
        return None


def checked_preference(row: VoteRow) -> Preference:
    """The record of a vote. Raises PlaygroundError where anything in it has changed since it was stored."""
    try:
        vote, battle = vote_of(row), battle_of(row.battle)
        a, b = traces_of(row.battle)
        if vote_checksum(battle, vote, (a.id, b.id)) != row.checksum:
            raise PlaygroundError(f"Vote {row.id} does not match its checksum; restore the database from a copy.")
    except (TypeError, KeyError, AttributeError) as error:
        raise PlaygroundError(f"Vote {row.id} is damaged ({type(error).__name__}); restore from a copy.") from None
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
