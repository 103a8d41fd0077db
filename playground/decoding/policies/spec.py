"""The grammar of policies: `name` or `name:key=value,key=value`, and its one canonical spelling.

Canonical (stored) form: keys sorted, defaults filled in. Unknown names and keys and values out of range are refused with
the nearest valid spelling or the allowed range.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from playground.decoding.sampling import FILTER_OFF
from playground.errors import PlaygroundError

if TYPE_CHECKING:
    from playground.decoding.policies.base import Policy, Resources, Row
    from playground.decoding.session import OwnDecoder
    from playground.decoding.trace import TokenStep

Value = float | int | str
Spacing = Literal["even", "log", "nines"]
COUNTED = ("tokens", "times")
CHECKPOINT_NAME = re.compile(r"[a-z0-9._-]{1,63}")
NO_CHECKPOINT = "none"
GROUPS = (
    "Fixed and truncation",
    "Rules from entropy",
    "Learned",
    "Feedback and guidance",
    "Sequence search",
    "Controls",
)


@dataclass(frozen=True)
class Key:
    """One knob of a policy: its type, default, allowed range (`low` and `high` included unless `low_open`) and help.

    `only_with` names another key and the value of it without which this one means nothing; it is then left out of the spec.
    """

    name: str
    kind: Literal["float", "int", "choice", "checkpoint"]
    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    low_open: bool = False
    only_with: tuple[str, Value] | None = None

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind == "checkpoint":
            return "the name of a checkpoint ([a-z0-9._-], at most 63 characters)"
        noun = "a whole number" if self.kind == "int" else "a number"
        above = f"{'above' if self.low_open else 'from'} {self.low:g}" if self.low is not None else ""
        below = f"to {self.high:g}" if self.high is not None else ""
        return " ".join(word for word in (noun, above, below) if word)

    def read(self, text: str) -> Value:
        """The value that `text` spells; PlaygroundError when it is not allowed."""
        try:
            return self.check(text if self.kind in ("choice", "checkpoint") else _number(text, self.kind))
        except ValueError:
            raise PlaygroundError(f"`{self.name}` must be {self.allowed}, got {text[:64]!r}.") from None

    def check(self, value: Value) -> Value:
        """`value` itself; ValueError when it is not allowed."""
        if isinstance(value, str):
            fits = value in self.choices if self.kind == "choice" else bool(CHECKPOINT_NAME.fullmatch(value))
        else:
            above = self.low is None or (value > self.low if self.low_open else value >= self.low)
            fits = math.isfinite(value) and above and (self.high is None or value <= self.high)
        if not fits:
            raise ValueError(self.name)
        return value


def _number(text: str, kind: str) -> float | int:
    return int(text) if kind == "int" else float(text) + 0.0  # −0 and 0 are one number, with one spelling


FILTER_KEYS = (
    Key("top_k", "int", 0, "keep the k most probable tokens; 0 is off", 0, 1_000_000),
    Key("top_p", "float", 1.0, "keep the smallest set of tokens with this mass; 1 is off", 0.0, 1.0, low_open=True),
    Key("min_p", "float", 0.0, "keep tokens with this share of the best one's probability; 0 is off", 0.0, 1.0),
    Key(
        "typical_p",
        "float",
        1.0,
        "keep the tokens nearest the expected surprisal, up to this mass; 1 is off",
        0.0,
        1.0,
        low_open=True,
    ),
    Key("eta_cutoff", "float", 0.0, "drop tokens below an entropy-dependent probability; 0 is off", 0.0, 1.0),
    Key("top_n_sigma", "float", 0.0, "keep logits within n standard deviations of the largest; 0 is off", 0.0, 100.0),
)
assert {key.name: key.default for key in FILTER_KEYS} == dict(FILTER_OFF)


@dataclass(frozen=True)
class Channel:
    """A policy's own number at every token, drawn as a heat channel between `low` and `high`.

    centre   where a diverging scale is pale; None makes the scale sequential
    words    what the whole values low, low + 1, … are called, where they are kinds rather than amounts
    figure   how its mean over a reply is called on the page; None says "mean" and the title, "" shows none
    target   the policy's key whose value the mean is steered to, shown beside it
    spacing  how values lie along the scale: "even"; "log", each ten times the last; "nines", each ten times nearer to 1
    only_with  a key of the policy and the value of it without which this is not recorded
    """

    name: str
    title: str
    unit: str
    help: str
    low: float
    high: float
    centre: float | None = None
    words: tuple[str, ...] = ()
    figure: str | None = None
    target: str = ""
    spacing: Spacing = "even"
    only_with: tuple[str, Value] | None = None

    @property
    def counts(self) -> bool:
        """Whether it is a whole number of things."""
        return self.unit in COUNTED


KEPT = (
    Channel(
        "kept_mass",
        "Kept mass",
        "",
        "how much of the probability, at this token's temperature, is left after tokens were cut off; 1 is all of it",
        0.0,
        1.0,
        spacing="nines",
    ),
    Channel(
        "kept_tokens",
        "Candidates",
        "tokens",
        "how many tokens could still be drawn after the cut",
        1.0,
        1000.0,
        spacing="log",
    ),
)
"""The channels of every lane that cuts tokens off before the draw, whatever its policy."""


@dataclass(frozen=True)
class PolicyKind:
    """A family of policies as the grammar, the page and the README know it.

    source      the paper and equation
    departure   where we depart from it, in one sentence; empty where we do not
    build       makes one policy that decides for all rows of this kind at once
    decoder     instead of `build`: the decoder of a lane of its own
    learned     the kind of checkpoint it takes, if any
    control     needs another lane or a card rather than deciding by itself
    streams     False: nothing is certain before the end, so only the command line offers it
    stands_for  an alias: the kind it is short for, and which of that kind's keys each of its own keys sets
    note        a sentence to show under a reply, from the policy's values and the reply's steps; "" where there is none
    group       where it stands among GROUPS; derived where it is not given
    shows       the channel in which it does something, where its temperature is the same at every token; "" where it varies
    cuts        whether it cuts tokens off itself, before the filters, from its values; None: never
    """

    name: str
    title: str
    summary: str
    formula: str
    source: str
    keys: tuple[Key, ...]
    build: Callable[[tuple[Row, ...], Resources], Policy] | None = None
    decoder: OwnDecoder | None = None
    departure: str = ""
    channels: tuple[Channel, ...] = ()
    learned: str | None = None
    control: bool = False
    streams: bool = True
    stands_for: tuple[PolicyKind, Mapping[str, str]] | None = None
    note: Callable[[Mapping[str, Value], Sequence[TokenStep]], str] | None = None
    group: str = ""
    cuts: Callable[[Mapping[str, Value]], bool] | None = None
    shows: str = ""

    def __post_init__(self) -> None:
        derived = [(self.control, 5), (self.learned, 2), (self.decoder, 4), (self.stands_for, 0), (True, 1)]
        object.__setattr__(self, "group", self.group or next(GROUPS[place] for holds, place in derived if holds))

    @property
    def all_keys(self) -> tuple[Key, ...]:
        """Its own keys, then the filters."""
        taken = {key.name for key in self.keys} | (set(self.stands_for[1].values()) if self.stands_for else set())
        inherited = self.stands_for[0].keys if self.stands_for else ()
        return (*self.keys, *(key for key in (*inherited, *FILTER_KEYS) if key.name not in taken))

    @property
    def module(self) -> str:
        """The Python module that computes it."""
        maker = self.build or self.decoder or (self.stands_for[0].build if self.stands_for else None)
        assert maker is not None
        return maker.__module__


@dataclass(frozen=True)
class Spec:
    """A policy with all its values. `str(spec)` is the canonical form."""

    kind: PolicyKind
    values: Mapping[str, Value]

    def __str__(self) -> str:
        return self._spell(self.values)

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def short(self) -> str:
        """The shortest spelling: only what differs from the defaults."""
        defaults = {key.name: key.default for key in self.kind.all_keys}
        return self._spell({name: value for name, value in self.values.items() if value != defaults[name]})

    @property
    def filters(self) -> Mapping[str, float]:
        return {key.name: float(self.values[key.name]) for key in FILTER_KEYS}

    @property
    def cuts(self) -> bool:
        """Whether tokens are cut off before the draw, by the policy itself or by a filter."""
        own = self.kind.cuts
        return bool(own and own(self.values)) or any(self.filters[name] != off for name, off in FILTER_OFF.items())

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What its lane records at every token: the policy's own numbers, and what a cut leaves."""
        own = [c for c in self.kind.channels if c.only_with is None or self.values[c.only_with[0]] == c.only_with[1]]
        return (*own, *(KEPT if self.cuts else ()))

    @property
    def shows(self) -> str:
        """What to look at first in its lane: the temperature, or where that never varies the channel that does."""
        names = [channel.name for channel in self.channels]
        only_top_k = not any(self.filters[name] != off for name, off in FILTER_OFF.items() if name != "top_k")
        first = KEPT[0].name if self.kind.shows == KEPT[1].name and only_top_k else self.kind.shows
        return first if first in names else "temperature"

    def _spell(self, values: Mapping[str, Value]) -> str:
        words = ",".join(f"{name}={values[name]}" for name in sorted(values))
        return f"{self.name}:{words}" if words else self.name


def parse(text: str, kinds: Iterable[PolicyKind]) -> Spec:
    """The spec that `text` spells, defaults filled in. Raises PlaygroundError in one sentence."""
    known = {kind.name: kind for kind in kinds}
    name, _, rest = text.strip().partition(":")
    if name not in known:
        unknown = f"There is no policy {name[:64]!r}{_nearest(name, known)}; choose one"
        raise PlaygroundError(f"{unknown} of {', '.join(known)}.", f"{unknown} from the menu of its lane.")
    kind, values, given = _valued(known[name], rest)
    keys = {key.name: key for key in kind.all_keys}
    if kind.stands_for:
        kind, renamed = kind.stands_for
        values = {key.name: key.default for key in kind.all_keys} | {renamed.get(k, k): v for k, v in values.items()}
    idle = {key.name for key in kind.all_keys if key.only_with and values[key.only_with[0]] != key.only_with[1]}
    for word in sorted(idle & given):
        other, wanted = keys[word].only_with or ("", "")
        raise PlaygroundError(
            f"`{word}` means something only with {other}={wanted} in {name!r}; add that or leave it out."
        )
    return Spec(kind, {name: values[name] for name in sorted(values) if name not in idle})


def spelt(text: str, kinds: Iterable[PolicyKind]) -> str:
    """The shortest spelling of a spec under the name that it was given, which may be an alias. Raises as `parse` does."""
    kinds = tuple(kinds)
    spec = parse(text, kinds)
    name, _, rest = text.strip().partition(":")
    kind = next(kind for kind in kinds if kind.name == name)
    return Spec(kind, _valued(kind, rest)[1]).short if kind.stands_for else spec.short


def _valued(kind: PolicyKind, rest: str) -> tuple[PolicyKind, dict[str, Value], set[str]]:
    """The kind, the value of each of its keys, and the keys that `rest` names."""
    name = kind.name
    keys = {key.name: key for key in kind.all_keys}
    values: dict[str, Value] = {key.name: key.default for key in kind.all_keys}
    given: set[str] = set()
    for item in rest.split(",") if rest.strip() else []:
        word, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise PlaygroundError(
                f"A policy reads name:key=value,key=value; {item.strip()[:64]!r} in {name!r} is not key=value."
            )
        if word not in keys:
            raise PlaygroundError(
                f"{name!r} has no key {word[:64]!r}{_nearest(word, keys)}; its keys are {', '.join(sorted(keys))}."
            )
        if word in given:
            raise PlaygroundError(f"`{word}` is given twice in {name!r}; give it once.")
        given.add(word)
        values[word] = keys[word].read(value)
    return kind, values, given


def _nearest(word: str, among: Iterable[Any]) -> str:
    close = difflib.get_close_matches(word.lower(), list(among), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
