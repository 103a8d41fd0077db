"""Amounts as the page writes them, the same under a lane, in a chart and (static/overlay.js) on a card."""

from __future__ import annotations

import math
from typing import Protocol

GROUPED = 100  # from here on without decimals, in groups of three


class Measure(Protocol):
    """What is measured: a channel or a scale."""

    @property
    def unit(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def words(self) -> tuple[str, ...]: ...
    @property
    def counts(self) -> bool: ...


def number(value: float, counts: bool = False) -> str:
    """Two decimals, four where two would say little; none for a whole count and for what is large."""
    if abs(value) >= GROUPED or (counts and abs(value - round(value)) < 0.005):
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.{2 if value == 0 or abs(value) >= 0.01 else 4}f}".replace("-", "−")


def plain(value: float, measure: Measure) -> str:
    """A value without its unit; where values are kinds, what its kind is called."""
    if not measure.words:
        return number(value, measure.counts)
    return measure.words[min(max(round(value - measure.low), 0), len(measure.words) - 1)]


def amount(value: float, measure: Measure) -> str:
    """A value with its unit: "1 token", "2.50 bits (1.73 nats)"."""
    said = number(value, measure.counts)
    unit = measure.unit.removesuffix("s") if measure.counts and said == "1" else measure.unit
    nats = f" ({number(value * math.log(2))} nats)" if measure.unit == "bits" else ""
    return f"{said} {unit}".rstrip() + nats
