"""`target-entropy`: the temperature at which the next token has a given entropy
(what TempNet learns to predict, found exactly; Qiu et al., ICML 2024, arXiv 2404.04575).

    L(T)  = T · ln[(1/V) Σ_k exp((h_k − h_y) / T)] + rho · T        the robust loss of one token
    L'(T) = H(softmax(h / T)) − (ln V − rho)                         the label y has cancelled

H rises with T, so L is convex and its minimum is the T with H(softmax(h / T)) = ln V − rho, clipped to [low, high]. We take
that entropy as the knob, in nats, since rho does not transfer between vocabularies: rho = ln V − nats. The paper's own
targets at V = 32,000 are 2.37 (rho 8) and 1.87 nats (rho 8.5); its released bounds are [0.01, 1.2].

The default of 2 nats lies between those two and is what the embedded model does by itself: over reference replies its entropy
at T = 1 has the median 2.04 and the mean 2.24 nats. About a third of the tokens then stop at `high`, too sure to be heated
to 2 nats below T = 1.2.

The root is bracketed by [low, high] and found by Newton's method in ln T on ln H, with dH / d ln T = Var_p(h / T), and by
bisection wherever Newton leaves the bracket or did not halve the miss; the bounds are tried only where it points beyond them. Rows are solved one by one, so that no figure
depends on how many stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.trace import TokenStep
from playground.errors import PlaygroundError

TOLERANCE = 1e-12  # nats


class TargetEntropy(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._knobs = [tuple(float(row.spec.values[name]) for name in ("nats", "low", "high")) for row in rows]
        if any(low > high for _, low, high in self._knobs):
            raise PlaygroundError("`low` must be at most `high` in 'target-entropy'; raise `high` or lower `low`.")

    def decide(self, logits: Tensor, hidden: Tensor, state: State) -> Decision:
        solved = [solve(row, *knobs) for row, knobs in zip(logits, self._knobs, strict=True)]
        temperature, reached = torch.tensor(solved, dtype=torch.float64).T
        gap = (reached - torch.tensor([nats for nats, _, _ in self._knobs])).round(decimals=9) + 0.0
        return Decision(temperature, channel={"clipped": -gap.sign() + 0.0, "entropy_gap": gap})


def solve(logits: Tensor, target: float, low: float, high: float) -> tuple[float, float]:
    """The T in [low, high] at which the entropy of logits [V] is nearest `target` nats, and that entropy."""
    lowered = (logits - logits.max()).clamp(min=-1e8)  # −inf · 0 would be NaN
    a, b, tried, miss = low, high, set[float](), math.inf
    at = min(max(1.0, low), high)
    while at not in tried:
        tried.add(at)
        h, slope = entropy_at(lowered, at)
        before, miss = miss, abs(h - target)
        if miss <= TOLERANCE or (h < target and at == high) or (h > target and at == low):
            break
        a, b = (at, b) if h < target else (a, at)
        wanted = _newton(at, h, slope, target)
        if wanted <= a or wanted >= b:
            at = a if wanted <= a else b
            at = at if at not in tried else math.sqrt(a * b)
        else:
            at = wanted if miss <= before / 2 else math.sqrt(a * b)
    return at, h


def _newton(at: float, h: float, slope: float, target: float) -> float:
    """Newton's step in ln T on ln H; 0 or infinity where H does not tell how far."""
    if h > 0 and slope > 0:
        step = math.log(target / h) * h / slope
        if abs(step) < 700:
            return at * math.exp(step)
    return math.inf if h < target else 0.0


def entropy_at(lowered: Tensor, temperature: float) -> tuple[float, float]:
    """H in nats of softmax(lowered / T) and dH / d ln T, for lowered [V] = logits − their maximum and T > 0."""
    x = lowered / temperature
    weights = x.exp()
    total = weights.sum()
    mean = torch.dot(weights, x) / total
    return float(total.log() - mean), float(torch.dot(weights, x.sub_(mean).square_()) / total)


def clips(values: Mapping[str, Value], steps: Sequence[TokenStep]) -> str:
    """The share of tokens that stopped at a bound, in one sentence."""
    high, low = (sum(step.channel["clipped"] == side for step in steps) / len(steps) for side in (1, -1))
    if not high and not low:
        return ""
    sides = " and at ".join(f"{name} for {share:.0%}" for name, share in (("high", high), ("low", low)) if share)
    return f"T stopped at {sides} of the tokens, which therefore miss the target of {values['nats']} nats."


KIND = PolicyKind(
    name="target-entropy",
    title="Target entropy: the same uncertainty at every token",
    summary="Hot where the model is sure, cold where it is not, the opposite of EDT: T is solved for so that every token "
    "has the same entropy. TempNet's exact optimum, nothing learned.",
    formula="T : H(softmax(h / T)) = nats, T in [low, high]",
    source="Qiu et al., ICML 2024, arXiv 2404.04575: the exact minimiser of the robust loss",
    departure="solved exactly at every token instead of predicted by a network; the knob is ln V − rho instead of rho.",
    keys=(
        Key(
            "nats",
            "float",
            2.0,
            "the entropy every token shall have, in nats; TempNet's rho is ln V − nats (8.80 at V = 49,152 and 2 nats)",
            0.0,
            15.0,
            low_open=True,
        ),
        Key("low", "float", 0.01, "the lowest temperature", 0.001, 5.0),
        Key(
            "high",
            "float",
            1.2,
            "the highest temperature; above it, sure tokens stay surer than the target",
            0.001,
            5.0,
        ),
    ),
    build=TargetEntropy,
    note=clips,
    channels=(
        Channel(
            "clipped",
            "Clipping",
            "",
            "1 where T stopped at `high` below the target entropy, −1 where it stopped at `low` above it, 0 where it reached it",
            -1.0,
            1.0,
            0.0,
            words=("stopped at low", "target reached", "stopped at high"),
            figure="",  # the note says it
        ),
        Channel(
            "entropy_gap",
            "Entropy − target",
            "nats",
            "entropy reached minus the target, before the filters; 0 unless the temperature was clipped",
            -2.0,
            2.0,
            0.0,
        ),
    ),
)
