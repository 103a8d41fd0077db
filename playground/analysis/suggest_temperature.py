"""The entropy turning point (TURN: Du, Yang & Welleck 2025, arXiv 2502.05234, Algorithm 1).

    H(T) = mean over replies of the reply's mean token entropy, of the distribution drawn from, in nats
    ℓ(T) = ln H(T);  turning point = the lowest T of the sweep with d²ℓ/dT² > 0
    suggested T = turning point + β,  β = 0 for a majority vote, 0.1 for best of N

Below it log entropy is concave; above it replies lose their thread and entropy takes off. Departures:

1. A second derivative of few replies is mostly noise, and "the lowest T where it is positive" then answers with the
   first accident. The suggestion is therefore where the second derivative of a least-squares curve changes its sign:
   ℓ(T) = a + c·ln T + b·T + d·T², a power law at low T (the gap between the two best logits has a density at 0) that
   bends upward, so ℓ″ = 2d − c/T² and the turning point is √(c / 2d). The published rule, with the derivatives of the
   authors' code (central differences taken twice, both ends left out), stands beside it.
2. The 90 % interval (Fieller 1954) is where ℓ″ cannot be told from 0. Where it has no bounds, or c or d is not positive,
   or the turning point lies outside the sweep, there is none; the authors' code then takes the last temperature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from playground.errors import PlaygroundError

TEMPERATURES = tuple(round(0.1 * step, 1) for step in range(1, 15))
BEST_OF_N = 0.1
FEWEST = 6
# 95 % quantiles of Student's t by degrees of freedom; between two entries the smaller one (the wider interval) holds.
T_QUANTILES = {
    **{1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833, 10: 1.812},
    **{12: 1.782, 15: 1.753, 20: 1.725, 30: 1.697, 60: 1.671},
}


@dataclass(frozen=True)
class Suggestion:
    """A sweep and what it says.

    temperatures, entropies   the curve: T in rising order, mean entropy in nats
    fitted                    the least-squares curve's mean entropy at each T, in nats
    turning                   its turning point, or None where there is no turning point
    low, high                 its 90 % interval, None with it
    published                 the published rule on the curve as it is, or None where it finds none
    replies                   the replies at each temperature, on average
    """

    temperatures: tuple[float, ...]
    entropies: tuple[float, ...]
    fitted: tuple[float, ...]
    turning: float | None
    low: float | None
    high: float | None
    published: float | None
    replies: float

    @property
    def sentence(self) -> str:
        """What to use, or that nothing can be suggested."""
        said = "nothing" if self.published is None else f"T = {self.published:g}"
        rule = f"The published rule on the unsmoothed curve says {said}."
        if self.turning is None or self.low is None or self.high is None:
            return (
                f"No clear turning point between T = {self.temperatures[0]:g} and {self.temperatures[-1]:g}: where the curve "
                f"bends upward cannot be told from noise. Take more prompts of the task first (eight mostly show it, one in half the "
                f"cases only), then more replies to each. {rule}"
            )
        return (
            f"Use T = {self.turning:.2f} for a majority vote and {self.turning + BEST_OF_N:.2f} for best of N: log entropy "
            f"turns from concave to convex at {self.turning:.2f} (90 % interval {self.low:.2f} to {self.high:.2f}). {rule}"
        )

    def to_record(self) -> dict[str, object]:
        """The suggest-t/1 object."""
        best = None if self.turning is None else self.turning + BEST_OF_N
        return {
            "format": "suggest-t/1",
            "vote": self.turning,
            "best_of_n": best,
            "interval": None if self.turning is None else [self.low, self.high],
            "published_rule": self.published,
            "replies": self.replies,
            "temperatures": list(self.temperatures),
            "entropies": list(self.entropies),
            "fitted": list(self.fitted),
            "sentence": self.sentence,
        }


def suggest(replies: Mapping[float, Sequence[float]]) -> Suggestion:
    """The suggestion from the mean entropies [nats] of the replies at each temperature.

    Temperatures without a reply, or with a mean entropy of 0, have no logarithm and are left out. Raises PlaygroundError
    where fewer than FEWEST are left.
    """
    curve = sorted((t, fmean(values)) for t, values in replies.items() if values)
    curve = [(t, entropy) for t, entropy in curve if entropy > 0]
    if len(curve) < FEWEST:
        raise PlaygroundError(
            f"A turning point needs replies at {FEWEST} temperatures or more with an entropy above 0, got {len(curve)}."
        )
    temperatures, entropies = (tuple(column) for column in zip(*curve, strict=True))
    logs = [math.log(entropy) for entropy in entropies]
    turning, fitted = turning_point(temperatures, logs)
    low, high = turning[1:] if turning else (None, None)
    return Suggestion(
        temperatures,
        entropies,
        tuple(math.exp(value) for value in fitted),
        turning[0] if turning else None,
        low,
        high,
        published_rule(temperatures, logs),
        fmean(len(values) for values in replies.values() if values),
    )


def published_rule(temperatures: Sequence[float], logs: Sequence[float]) -> float | None:
    """The lowest inner temperature whose second derivative of log entropy is positive; None where there is none."""
    curvature = _slopes(temperatures, _slopes(temperatures, logs))
    return next((t for t, bend in list(zip(temperatures, curvature, strict=True))[1:-1] if bend > 0), None)


def turning_point(
    temperatures: Sequence[float], logs: Sequence[float]
) -> tuple[tuple[float, float, float] | None, list[float]]:
    """((turning point, low, high) or None, the fitted logs) of a + c·ln T + b·T + d·T² through the logs.

    With s = T², Fieller's interval holds the s with (2d·s − c)² ≤ t²·Var(2d·s − c).
    """
    x = torch.tensor(temperatures, dtype=torch.float64)
    y = torch.tensor(logs, dtype=torch.float64)
    terms = torch.stack([torch.ones_like(x), x, x.log(), x**2], dim=1)
    inverse = torch.linalg.inv(terms.T @ terms)
    fit = inverse @ (terms.T @ y)
    fitted = terms @ fit
    freedom = len(temperatures) - 4
    quantile = T_QUANTILES[max(known for known in T_QUANTILES if known <= freedom)]
    spread = quantile**2 * float(((y - fitted) ** 2).sum()) / freedom
    vcc, vcd, vdd = (spread * float(inverse[i, j]) for i, j in ((2, 2), (2, 3), (3, 3)))
    c, d = float(fit[2]), float(fit[3])
    square, linear, constant = 4 * (d**2 - vdd), -4 * (c * d - vcd), c**2 - vcc
    if c <= 0 or d <= 0 or square <= 0:
        return None, fitted.tolist()
    half = math.sqrt(max(0.0, linear**2 - 4 * square * constant))
    low, high = ((-linear + sign * half) / (2 * square) for sign in (-1, 1))
    turn = math.sqrt(c / (2 * d))
    inside = temperatures[0] < turn < temperatures[-1]
    return ((turn, math.sqrt(max(0.0, low)), math.sqrt(high)) if inside else None), fitted.tolist()


def _slopes(x: Sequence[float], y: Sequence[float]) -> list[float]:
    """First derivatives: second-order central differences inside, one-sided at both ends; spacing may differ."""
    inner = []
    for i in range(1, len(x) - 1):
        left, right = x[i] - x[i - 1], x[i + 1] - x[i]
        forward, backward = (y[i + 1] - y[i]) / right, (y[i] - y[i - 1]) / left
        inner.append((forward * left + backward * right) / (left + right))
    return [(y[1] - y[0]) / (x[1] - x[0]), *inner, (y[-1] - y[-2]) / (x[-1] - x[-2])]
