"""The vote store: agreements, battles, traces and votes behind a few verbs. Safe to call from many threads at once.

A battle runs, finishes with two traces, and takes one vote; or it fails. A method that returns has committed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from playground.decoding.trace import Trace, canonical_json
from playground.errors import FaultError, PlaygroundError
from playground.feedback import rows
from playground.feedback.ballot import Ballot, Receipt, Reveal, Strength
from playground.feedback.checksum import vote_checksum
from playground.feedback.connection import BUSY_SECONDS, Database
from playground.feedback.opening import open_database
from playground.feedback.schema import (
    FAILED,
    FINISHED,
    RUNNING,
    STATES,
    VOTED,
    AgreementRow,
    BattleRow,
    TraceRow,
    VoteRow,
)
from playground.feedback.selection import Selection
from playground.feedback.tokens import INVALID, Tokens, load_key
from playground.records import Battle, Mode, Outcome, Vote

KEY_FILE = "signing.key"
LONGEST_VOTER = 128


def _now() -> datetime:
    return datetime.now(UTC)


class Store:
    """All that the pages and the command line do with the database."""

    def __init__(self, database: Database, tokens: Tokens, clock: Callable[[], datetime] = _now) -> None:
        self._database = database
        self._tokens = tokens
        self._clock = clock

    @classmethod
    def open(
        cls, url: str, data_folder: Path, clock: Callable[[], datetime] = _now, busy_seconds: float = BUSY_SECONDS
    ) -> Store:
        """The store at a SQLAlchemy URL, its signing key in `data_folder`; both are made on first use.

        Raises PlaygroundError for a database or key that cannot be used; neither is changed then.
        """
        return cls(open_database(url, busy_seconds), Tokens(load_key(data_folder / KEY_FILE)), clock)

    def close(self) -> None:
        self._database.close()

    def agree(self, voter: str, notice: str) -> None:
        """Record that `voter` agreed to this version of the notice; once is enough."""
        _check_voter(voter)
        with self._database.writing() as session:
            if session.get(AgreementRow, (voter, notice)) is None:
                session.add(AgreementRow(voter=voter, notice=notice, created=self._clock()))

    def agreed(self, voter: str, notice: str) -> bool:
        with self._database.reading() as session:
            return session.get(AgreementRow, (voter, notice)) is not None

    def open_battle(self, battle: Battle) -> str:
        """Store a running blind battle; returns the token its voter votes with, good for 30 minutes from now.

        Raises PlaygroundError where the voter has not agreed to the battle's notice.
        """
        if not battle.blind:
            raise PlaygroundError("A battle must be blind; a vote cast in Compare is recorded when it is given.")
        with self._database.writing() as session:
            return self._add_battle(session, battle)

    def finish_battle(self, battle_id: str, traces: tuple[Trace, Trace]) -> None:
        """Store both finished replies, candidate a first; from here on the battle can be voted on.

        Raises PlaygroundError where the battle is not running or a reply was stopped, failed or came from another arm.
        """
        both = rows.trace_rows(traces)
        with self._database.writing() as session:
            _attach(_battle_row(session, battle_id), both, self._clock())

    def fail_battle(self, battle_id: str, reason: str) -> None:
        """Close a running battle for good; it cannot be voted on."""
        with self._database.writing() as session:
            row = _battle_row(session, battle_id)
            if row.state != RUNNING:
                raise PlaygroundError(f"Only a running battle can fail; this one is {row.state}.")
            row.state, row.reason = FAILED, reason[:500]

    def vote(
        self,
        token: str,
        voter: str,
        outcome: Outcome,
        strength: Strength | None = None,
        tags: Sequence[str] = (),
        spans: Sequence[Any] = (),
    ) -> Receipt:
        """Commit the one vote of a battle; `outcome` names a candidate, never a side.

        The same vote again, however late, returns the same receipt; another vote on the battle is refused.
        Raises PlaygroundError for a token that is not this voter's, has expired, or whose battle is not finished.
        """
        ballot = Ballot(outcome, strength, tuple(tags), tuple(spans))
        claim = self._tokens.read(token, voter)
        for last in (False, True):
            try:
                with self._database.writing() as session:
                    row = _battle_row(session, claim.battle_id)
                    earlier = _vote_row(session, claim.battle_id)
                    if earlier is not None:
                        return _repeated(earlier, ballot)
                    claim.require_live(self._clock())
                    return self._add_vote(session, row, ballot)
            except IntegrityError:  # another writer was first, on a database that does not serialise writers
                if last:
                    raise
        raise AssertionError("unreachable")

    def record_open_vote(
        self,
        battle: Battle,
        traces: tuple[Trace, Trace],
        outcome: Outcome,
        seconds: float | None = None,
        strength: Strength | None = None,
        tags: Sequence[str] = (),
    ) -> Receipt:
        """Commit a vote cast in Compare, where nothing was hidden: battle, both traces and vote in one transaction.

        Idempotent by battle id, like `vote`.
        """
        if battle.blind:
            raise PlaygroundError("A vote cast in Compare must not be marked blind.")
        ballot = Ballot(outcome, strength, tuple(tags))
        both = rows.trace_rows(traces)
        with self._database.writing() as session:
            earlier = _vote_row(session, battle.id)
            if earlier is not None:
                if earlier.battle.voter != battle.voter:
                    raise PlaygroundError(INVALID)
                return _repeated(earlier, ballot)
            self._add_battle(session, battle)
            row = _battle_row(session, battle.id)
            _attach(row, both, self._clock())
            session.flush()
            return self._add_vote(session, row, ballot, seconds)

    def reveal(self, token: str, voter: str) -> Reveal:
        """Names and traces of a voted battle. Raises PlaygroundError before the vote, and for another's token."""
        claim = self._tokens.read(token, voter)
        with self._database.reading() as session:
            vote = _vote_row(session, claim.battle_id)
            if vote is None:
                raise PlaygroundError("The names are shown after the vote; choose A, B, tie or both bad first.")
            battle, given = rows.sealed(vote)
            return Reveal(battle, rows.traces_of(vote.battle), given)

    def battle(self, battle_id: str) -> Battle:
        """The battle, for the server's own use: it names the arms."""
        with self._database.reading() as session:
            return rows.battle_of(_battle_row(session, battle_id))

    def state(self, battle_id: str) -> str:
        """running, finished, voted or failed."""
        with self._database.reading() as session:
            return _battle_row(session, battle_id).state

    def traces(self, battle_id: str) -> tuple[Trace, Trace]:
        """Both traces of a finished battle, candidate a first, for the server's own use."""
        with self._database.reading() as session:
            return rows.traces_of(_battle_row(session, battle_id))

    def preferences(self, include_unblind: bool = False, mode: Mode | None = None) -> Selection:
        """The votes as preference records, oldest first; what was left out, and why, is counted as one iterates."""
        return Selection(self._database, include_unblind, mode)

    def counts(self) -> dict[str, int]:
        """Rows by kind: agreements, battles in each state, votes, and how many of them were blind."""
        with self._database.reading() as session:
            rows_by_state = session.execute(select(BattleRow.state, func.count()).group_by(BattleRow.state))
            states = {row[0]: row[1] for row in rows_by_state}
            blind = select(func.count()).select_from(VoteRow).join(VoteRow.battle).where(BattleRow.blind)
            return {
                "agreements": session.scalar(select(func.count()).select_from(AgreementRow)) or 0,
                **{f"battles_{state}": states.get(state, 0) for state in STATES},
                "votes": session.scalar(select(func.count()).select_from(VoteRow)) or 0,
                "votes_blind": session.scalar(blind) or 0,
            }

    def _add_battle(self, session: Session, battle: Battle) -> str:
        _check_voter(battle.voter)
        if session.get(AgreementRow, (battle.voter, battle.notice)) is None:
            raise PlaygroundError("Agree to the notice first; nothing is stored before.")
        if session.get(BattleRow, battle.id) is not None:
            raise PlaygroundError("A battle must have an id of its own; this one is taken.")
        token, expires = self._tokens.issue(battle.id, battle.voter, self._clock())
        session.add(rows.battle_row(battle, expires))
        try:
            session.flush()
        except IntegrityError as error:
            raise FaultError(
                f"The battle does not fit the store ({error.orig}); it was not saved.",
                "The battle does not fit the store and was not saved; start a new one.",
            ) from None
        return token

    def _add_vote(self, session: Session, row: BattleRow, ballot: Ballot, seconds: float | None = None) -> Receipt:
        if row.state != FINISHED or row.finished is None or row.a is None or row.b is None:
            raise PlaygroundError(f"A vote needs two finished replies; this battle is {row.state}.")
        now = self._clock()
        if row.blind:
            seconds = max(0.0, (now - row.finished).total_seconds())
        vote = Vote(uuid.uuid4().hex, row.id, ballot.outcome, seconds, now, ballot.strength, ballot.tags, ballot.spans)
        row.state = VOTED
        session.flush()
        checksum = vote_checksum(rows.battle_of(row), vote, (row.a.digest, row.b.digest))
        session.add(rows.vote_row(vote, checksum))
        session.flush()
        return Receipt(vote.id, repeated=False)


def _check_voter(voter: str) -> None:
    if not isinstance(voter, str) or not 1 <= len(voter) <= LONGEST_VOTER:
        raise PlaygroundError(f"`voter` must be an opaque id of 1 to {LONGEST_VOTER} characters.")


def _battle_row(session: Session, battle_id: str) -> BattleRow:
    row = session.get(BattleRow, battle_id)
    if row is None:
        raise PlaygroundError("This battle is not known here; start a new battle.")
    return row


def _attach(row: BattleRow, both: tuple[TraceRow, TraceRow], now: datetime) -> None:
    if row.state != RUNNING:
        raise PlaygroundError(f"Only a running battle can finish; this one is {row.state}.")
    if (both[0].policy, both[1].policy) != (row.arm_a, row.arm_b):
        raise PlaygroundError("The replies of a battle must come from its two arms, candidate a first.")
    row.a, row.b = both
    row.state, row.finished = FINISHED, now


def _vote_row(session: Session, battle_id: str) -> VoteRow | None:
    return session.scalars(select(VoteRow).where(VoteRow.battle_id == battle_id)).one_or_none()


def _repeated(earlier: VoteRow, ballot: Ballot) -> Receipt:
    vote = rows.vote_of(earlier)
    given = Ballot(vote.outcome, vote.strength, vote.tags, vote.spans)
    if canonical_json(asdict(given)) != canonical_json(asdict(ballot)):
        raise PlaygroundError("This battle already has a vote, and a battle takes one; start a new battle.")
    return Receipt(earlier.id, repeated=True)
