"""Means over prompts or clusters with 95 % t intervals, and paired differences of two policies over the same prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

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
    return Estimate(fmean(values), quantile(n - 1) * stdev(values) / math.sqrt(n), n)


def difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """a − b, paired by prompt."""
    return estimate([x - y for x, y in zip(a, b, strict=True)])


def above(value: Mapping[str, Any], bound: float = 0.0) -> bool:
    """Whether a figure's interval lies above `bound`; never where it has none (`half` None: some stratum has one cluster)."""
    return value["half"] is not None and value["mean"] - value["half"] > bound


def quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, taken at the next smaller tabulated number of degrees of freedom; at least 1."""
    whole = freedom + 1e-9  # 7 degrees that rounding made 6.999… are 7
    return T_QUANTILES[max((f for f in T_QUANTILES if f <= whole), default=1)]


def mean_of_strata(strata: Sequence[Sequence[float]]) -> Estimate:
    """The mean of S strata with equal weight, each a list of independent cluster means, with its 95 % t interval.

        mean = (1/S) Σ m_s        v_s = s_s² / (S² n_s)        half = t(df) √(Σ v_s)        df = (Σ v_s)² / Σ [v_s² / (n_s − 1)]

    m_s, s_s and n_s are the mean, the standard deviation and the number of the clusters of stratum s; df is Welch's and
    Satterthwaite's, rounded down to the table. The half-width is infinite where a stratum has a single cluster. It is 0
    where the clusters of every stratum are equal: that is no spread among them, not certainty about others. `count` is the
    number of clusters.
    """
    count, share = sum(map(len, strata)), len(strata)
    mean = fmean(fmean(values) for values in strata)
    if any(len(values) < 2 for values in strata):
        return Estimate(mean, math.inf, count)
    parts = [(stdev(values) ** 2 / (share**2 * len(values)), len(values) - 1) for values in strata]
    total = sum(v for v, _ in parts)
    if total == 0:
        return Estimate(mean, 0.0, count)
    freedom = total**2 / sum(v**2 / n for v, n in parts)
    return Estimate(mean, quantile(freedom) * math.sqrt(total), count)
