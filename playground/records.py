"""Battles and votes as plain values, and the preference/1 record that joins the app to the trainer.

No SQLAlchemy and no torch here. An outcome names a candidate ("a", "b"), never a side of the page: `left` says which
candidate stood on the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import NoneType
from typing import Any, Literal, get_args

from playground.decoding.trace import Request, Trace

FORMAT = "preference/1"
Arm = Literal["a", "b"]
Outcome = Literal["a", "b", "tie", "both_bad"]
Mode = Literal["collect", "evaluate"]
Source = Literal["human", "verifier", "heuristic"]
Strength = Literal["slight", "much"]
OUTCOMES: tuple[Outcome, ...] = ("a", "b", "tie", "both_bad")
Kinds = Mapping[str, tuple[str, tuple[type, ...]]]  # a field's name → what it must be, in words and as types
TEXT, NUMBER, LIST = ("a text", (str,)), ("a number", (int, float)), ("a list", (list, tuple))
FIELDS: Kinds = {
    **dict.fromkeys(("vote_id", "battle_id", "source", "prompt"), TEXT),
    **dict.fromkeys(("tags", "spans"), LIST),
    "family": ("a text or null", (str, NoneType)),
    "blind": ("true or false", (bool,)),
    "propensity": ("a number or null", (int, float, NoneType)),
}
CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "outcome": OUTCOMES,
    "mode": get_args(Mode),
    "left": get_args(Arm),
    "strength": (*get_args(Strength), None),
}
OF_TRACE: Kinds = {
    **dict.fromkeys(("policy", "model", "revision", "prompt", "text"), TEXT),
    **dict.fromkeys(("prompt_ids", "order", "steps"), LIST),
    "grid": ("a list or null", (list, tuple, NoneType)),
}
OF_STEP: Kinds = {
    "token_id": ("a whole number", (int,)),
    **dict.fromkeys(("temperature", "entropy", "entropy_after"), NUMBER),
    "grid_index": ("a whole number or null", (int, NoneType)),
    **dict.fromkeys(("logprob", "logprob_drawn"), ("a number or null", (int, float, NoneType))),
}
HELD: Kinds = {
    "prompt_ids": ("whole numbers", (int,)),
    "order": ("texts", (str,)),
    "grid": ("numbers", (int, float)),
}


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
    strength: Strength | None = None
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
    strength: Strength | None = None
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
    def from_record(cls, record: Any) -> Preference:
        """The inverse of `to_record`. Raises ValueError, with what is allowed, for anything that is not preference/1."""
        _check(record, {}, "a line")
        if record.get("format") != FORMAT:
            raise ValueError(f"`format` must be {FORMAT!r}, got {_short(record.get('format'))}.")
        values = {"strength": None, **{key: value for key, value in record.items() if key != "format"}}
        strange = values.keys() - {field.name for field in fields(cls)}
        if strange:
            raise ValueError(f"`{min(strange)[:40]}` must not be given: preference/1 has no such field.")
        _check(values, FIELDS)
        for name, allowed in CHOICES.items():
            if name not in values or values[name] not in allowed:
                one_of = ", ".join("null" if choice is None else choice for choice in allowed)
                raise ValueError(f"`{name}` must be one of {one_of}, got {_short(values.get(name))}.")
        tags, spans = tuple(values["tags"]), tuple(values["spans"])
        sides = {arm: _traces(arm, values.get(arm)) for arm in get_args(Arm)}
        return cls(**(values | {"tags": tags, "spans": spans} | sides))


def _traces(arm: str, records: Any) -> tuple[Trace, ...]:
    """The replies of a side. Raises ValueError where they are not trace/1, or there are none."""
    if not isinstance(records, list | tuple) or not records:
        raise ValueError(f"`{arm}` must be a list of one trace/1 object or more, got {_short(records)}.")
    try:
        return tuple(_trace(arm, record) for record in records)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"`{arm}` must hold trace/1 objects with all their fields and no others.") from error


def _trace(arm: str, record: Any) -> Trace:
    """A reply whose values have the types that its readers count on."""
    _check(record, OF_TRACE, f"a reply of `{arm}`")
    for step in record["steps"]:
        _check(step, OF_STEP, f"a step of `{arm}`")
        if step["grid_index"] is not None and not 0 <= step["grid_index"] < len(record["grid"] or ()):
            raise ValueError(
                f"`grid_index` of a step of `{arm}` must name a place of `grid`, got {step['grid_index']}."
            )
    for name, (allowed, types) in HELD.items():
        if not all(isinstance(value, types) for value in record[name] or ()):
            raise ValueError(f"`{name}` of a reply of `{arm}` must hold {allowed}.")
    return Trace.from_record(record)


def _check(record: Any, kinds: Kinds, what: str = "") -> None:
    """Raises ValueError where `record` is no object, or lacks a field, or has one of another type."""
    if not isinstance(record, Mapping):
        raise ValueError(f"{what} must be a JSON object, got {_short(record)}.")
    for name, (allowed, types) in kinds.items():
        if name not in record or not isinstance(record[name], types):
            got = _short(record[name]) if name in record else "none"
            raise ValueError(f"`{name}`{what and f' of {what}'} must be {allowed}, got {got}.")


def _short(value: Any) -> str:
    return f"{value!r:.40}"
