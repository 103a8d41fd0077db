"""Rounds in turn, so that a slow minute of the machine falls on every side alike, and figures with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
LEAST = 5  # rounds of a figure that is called a median


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))

    def shown(self, form: str = ".2f") -> str:
        """`1.52 (1.40–1.61)`; the median alone where there was one round."""
        if self.rounds == 1:
            return format(self.median, form)
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def in_turns(measures: Mapping[str, Callable[[int], T]], rounds: int) -> dict[str, list[T]]:
    """One figure of every measure in every round; a measure is called with the number of the round.

    Every second round runs in the opposite order, so that no side always follows the same other one.
    """
    found: dict[str, list[T]] = {name: [] for name in measures}
    for number in range(rounds):
        names = list(measures)
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(measures[name](number))
    return found


def ratios(ours: Sequence[float], yardstick: Sequence[float]) -> Spread:
    """Ours over the yardstick's, round by round."""
    return Spread.of([own / other for own, other in zip(ours, yardstick, strict=True)])
