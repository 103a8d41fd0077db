"""Means over prompts with 95 % t intervals, and paired differences of two policies over the same prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

# 97.5 % quantiles of Student's t by degrees of freedom; between two entries the smaller one (the wider interval) holds.
T_QUANTILES = {
    **{1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228},
    **{12: 2.179, 14: 2.145, 16: 2.120, 18: 2.101, 20: 2.086, 25: 2.060, 30: 2.042, 40: 2.021, 60: 2.000, 120: 1.980},
}


@dataclass(frozen=True)
class Estimate:
    """A mean with the half-width of its 95 % interval, over `count` prompts."""

    mean: float
    half: float
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of prompt means; the half-width is infinite for a single prompt."""
    n = len(values)
    if n < 2:
        return Estimate(fmean(values), math.inf, n)
    quantile = T_QUANTILES[max(freedom for freedom in T_QUANTILES if freedom <= n - 1)]
    return Estimate(fmean(values), quantile * stdev(values) / math.sqrt(n), n)


def difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """a − b, paired by prompt."""
    return estimate([x - y for x, y in zip(a, b, strict=True)])
