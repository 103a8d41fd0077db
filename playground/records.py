"""Battles and votes as plain values, and the preference/1 record that joins the app to the trainer.

No SQLAlchemy and no torch here. An outcome names a candidate ("a", "b"), never a side of the page: `left` says which
candidate stood on the left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from playground.decoding.trace import Request, Trace

FORMAT = "preference/1"
Arm = Literal["a", "b"]
Outcome = Literal["a", "b", "tie", "both_bad"]
Mode = Literal["collect", "evaluate"]
Source = Literal["human", "verifier", "heuristic"]
OUTCOMES: tuple[Outcome, ...] = ("a", "b", "tie", "both_bad")


@dataclass(frozen=True, slots=True)
class Battle:
    """Two arms on one prompt, drawn before they answer.

    arms          canonical policy specs of candidates a and b
    left          the candidate shown on the left
    propensity    the probability with which this ordered pair of arms was drawn
    blind         False for a vote cast in Compare, where the visitor saw names and colours
    voter         an opaque id of the browser; never an address or a name
    notice        version of the notice the voter agreed to
    """

    id: str
    mode: Mode
    blind: bool
    request: Request
    family: str | None
    arms: tuple[str, str]
    left: Arm
    propensity: float | None
    voter: str
    notice: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Vote:
    """The one accepted judgement of a battle; `seconds` runs from both replies finished to the vote."""

    id: str
    battle: str
    outcome: Outcome
    seconds: float | None
    created: datetime
    strength: Literal["slight", "much"] | None = None
    tags: tuple[str, ...] = ()
    spans: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Preference:
    """One preference/1 line. A side holds one trace, or several replies at one setting where sets are compared."""

    vote_id: str
    battle_id: str
    source: Source
    blind: bool
    mode: Mode
    outcome: Outcome
    left: Arm
    propensity: float | None
    prompt: str
    family: str | None
    a: tuple[Trace, ...]
    b: tuple[Trace, ...]
    strength: Literal["slight", "much"] | None = None
    tags: tuple[str, ...] = ()
    spans: tuple[Any, ...] = ()

    @property
    def chosen(self) -> tuple[Trace, ...] | None:
        """The winner's traces, or None where nobody won."""
        return {"a": self.a, "b": self.b}.get(self.outcome)

    @property
    def rejected(self) -> tuple[Trace, ...] | None:
        return {"a": self.b, "b": self.a}.get(self.outcome)

    def to_record(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "vote_id": self.vote_id,
            "battle_id": self.battle_id,
            "source": self.source,
            "blind": self.blind,
            "mode": self.mode,
            "outcome": self.outcome,
            "left": self.left,
            "strength": self.strength,
            "tags": list(self.tags),
            "spans": list(self.spans),
            "propensity": self.propensity,
            "prompt": self.prompt,
            "family": self.family,
            "a": [trace.to_record() for trace in self.a],
            "b": [trace.to_record() for trace in self.b],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Preference:
        """The inverse of `to_record`. Raises ValueError where the line is not preference/1."""
        if record.get("format") != FORMAT:
            raise ValueError(f"`format` must be {FORMAT!r}, got {record.get('format')!r}.")
        if record["outcome"] not in OUTCOMES:
            raise ValueError(f"`outcome` must be one of {', '.join(OUTCOMES)}, got {record['outcome']!r}.")
        values = {key: value for key, value in record.items() if key != "format"}
        for name in ("tags", "spans"):
            values[name] = tuple(values[name])
        for name in ("a", "b"):
            values[name] = _traces(values[name])
        return cls(**values)


def _traces(records: Sequence[Mapping[str, Any]]) -> tuple[Trace, ...]:
    return tuple(Trace.from_record(record) for record in records)
