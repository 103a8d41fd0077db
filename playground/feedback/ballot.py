"""What a voter hands in and gets back: a ballot, a receipt, and the reveal that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from playground.decoding.trace import Trace
from playground.errors import PlaygroundError
from playground.records import OUTCOMES, Battle, Outcome, Vote

Strength = Literal["slight", "much"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a vote is committed; `repeated` where it was already there."""

    vote_id: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class Reveal:
    """What may be shown once the vote is in."""

    battle: Battle
    traces: tuple[Trace, Trace]
    vote: Vote


@dataclass(frozen=True, slots=True)
class Ballot:
    """A judgement as the visitor gave it. Two equal ballots on one battle are one vote, sent twice."""

    outcome: Outcome
    strength: Strength | None = None
    tags: tuple[str, ...] = ()
    spans: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise PlaygroundError(f"`outcome` must be one of {', '.join(OUTCOMES)}, got {str(self.outcome)[:40]!r}.")
        if self.strength not in (None, "slight", "much"):
            raise PlaygroundError(f"`strength` must be slight, much or none, got {str(self.strength)[:40]!r}.")
        if len(self.tags) > 16 or not all(isinstance(tag, str) and 0 < len(tag) <= 64 for tag in self.tags):
            raise PlaygroundError("`tags` must be at most 16 words of 1 to 64 characters.")
