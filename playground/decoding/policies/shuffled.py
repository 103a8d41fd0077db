"""`shuffled`: the control that keeps another policy's temperatures and loses their places.

`of=N` runs after lane N (counted from 1) and uses a seeded permutation of the temperatures lane N used; when it outlasts
that lane it goes on with further permutations. Alone (`of=0`) it draws from the temperature histogram on a checkpoint's
card: per token for a token-level head, once per reply for a sequence-level one. If a policy is no better than its
shuffled self, *where* the temperature changes does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Head, Policy, Resources, Row, State
from playground.decoding.policies.spec import Key, PolicyKind
from playground.decoding.sampling import invert_cdf, uniform
from playground.errors import PlaygroundError


class Shuffled(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        name = str(rows[0].spec.values["checkpoint"])
        head = resources.head(name) if any(not row.spec.values["of"] for row in rows) else None
        self._sources = [_source(row, head, resources) for row in rows]

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        temperatures = [source.at(state.position) for source in self._sources]
        return Decision(torch.tensor(temperatures, dtype=torch.float64))


class _Permuted:
    """A donor's temperatures in a seeded order, permuted anew each time they run out."""

    def __init__(self, temperatures: Sequence[float], stream: torch.Generator) -> None:
        self._donor, self._stream = list(temperatures), stream
        self._order: list[float] = []

    def at(self, position: int) -> float:
        while position >= len(self._order):
            self._order += [self._donor[i] for i in uniform(self._stream, len(self._donor)).argsort(stable=True)]
        return self._order[position]


class _Histogram:
    """Temperatures drawn from a card's histogram: one a token, or one a reply."""

    def __init__(self, head: Head, stream: torch.Generator) -> None:
        self._head, self._stream = head, stream
        self._drawn: list[float] = []

    def at(self, position: int) -> float:
        shares = torch.tensor([self._head.histogram], dtype=torch.float64)
        wanted = position if self._head.level == "token" else 0
        while wanted >= len(self._drawn):
            self._drawn.append(self._head.grid[int(invert_cdf(shares, uniform(self._stream)))])
        return self._drawn[wanted]


def _source(row: Row, head: Head | None, resources: Resources) -> _Permuted | _Histogram:
    lane = int(row.spec.values["of"])
    stream = row.stream("temperature")
    if not lane:
        assert head is not None
        return _Histogram(head, stream)
    donor = resources.donors.get(lane)
    if not donor:
        raise PlaygroundError(
            f"`of` must name another lane that decides by itself, counted from 1; lane {lane} is none."
        )
    return _Permuted(donor.temperatures, stream)


def kind(default_checkpoint: str) -> PolicyKind:
    return PolicyKind(
        name="shuffled",
        title="Shuffled control",
        summary="The temperatures of another lane, or of a head's card, in random places.",
        formula="T_t = T'_π(t), π a seeded permutation",
        source="a placebo for where the temperature changes; ours",
        keys=(
            Key(
                "of",
                "int",
                0,
                "the lane whose temperatures are shuffled, counted from 1; 0 draws from the checkpoint's card",
                0,
                64,
            ),
            Key("checkpoint", "checkpoint", default_checkpoint, "whose card's histogram is drawn from when `of` is 0"),
        ),
        build=Shuffled,
        learned="adaptive-token",
        control=True,
    )
