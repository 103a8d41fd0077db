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
bisection wherever Newton leaves the bracket or did not halve the miss; the bounds are tried only where it points beyond
them. All rows are tried at once, each at its own T, and one that has arrived stays, so that no figure depends on the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.trace import TokenStep
from playground.errors import PlaygroundError

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-7}  # nats, by the precision of the logits
CLIPPED = 1e-6  # nats: a smaller miss is rounding


class TargetEntropy(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._target, self._low, self._high = (
            torch.tensor([float(row.spec.values[name]) for row in rows], dtype=torch.float64)
            for name in ("nats", "low", "high")
        )
        if (self._low > self._high).any():
            raise PlaygroundError("`low` must be at most `high` in 'target-entropy'; raise `high` or lower `low`.")

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        temperature, reached = solve_rows(now, self._target, self._low, self._high)
        gap = reached - self._target
        clipped = torch.where(gap.abs() > CLIPPED, -gap.sign(), 0.0) + 0.0
        return Decision(temperature, channel={"clipped": clipped, "entropy_gap": torch.where(clipped == 0, 0.0, gap)})


def solve_rows(now: Distribution, target: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The T [B] in [low, high] at which the entropy is nearest `target` nats, and that entropy, each [B].

    Every row goes its own way and stays where it has arrived while others still move.
    """
    rows = [_Search(*knobs) for knobs in zip(target.tolist(), low.tolist(), high.tolist(), strict=True)]
    tolerance = TOLERANCE[now.weights.dtype]
    while True:
        temperature = torch.tensor([row.at for row in rows], dtype=torch.float64)
        heated = now.tempered(temperature)
        found = zip(rows, heated.entropy.tolist(), heated.varentropy.tolist(), strict=True)
        moved = [row.moves(h, slope, tolerance) for row, h, slope in found]
        if not any(moved):
            return temperature, heated.entropy


def solve(logits: Tensor, target: float, low: float, high: float) -> tuple[float, float]:
    """`solve_rows` of logits [V] alone."""
    knobs = (torch.tensor([knob], dtype=torch.float64) for knob in (target, low, high))
    temperature, reached = solve_rows(Distribution(logits[None]), *knobs)
    return float(temperature), float(reached)


class _Search:
    """The search of one row: where it is, the bracket around the root, and what was tried."""

    def __init__(self, target: float, low: float, high: float) -> None:
        self.target, self.low, self.high = target, low, high
        self.at = min(max(1.0, low), high)
        self._bracket, self._tried, self._miss = (low, high), {self.at}, math.inf

    def moves(self, h: float, slope: float, tolerance: float) -> bool:
        """Goes on from the entropy and dH / d ln T found where it is; False where it has arrived."""
        before, self._miss = self._miss, abs(h - self.target)
        cold = h < self.target
        if self._miss <= tolerance or self.at == (self.high if cold else self.low):
            return False
        a, b = self._bracket = (self.at, self._bracket[1]) if cold else (self._bracket[0], self.at)
        wanted = _newton(self.at, h, slope, self.target)
        if wanted <= a or wanted >= b:
            wanted = a if wanted <= a else b
            wanted = wanted if wanted not in self._tried else math.sqrt(a * b)
        elif self._miss > before / 2:
            wanted = math.sqrt(a * b)
        if wanted in self._tried:
            return False
        self._tried.add(wanted)
        self.at = wanted
        return True


def _newton(at: float, h: float, slope: float, target: float) -> float:
    """Newton's step in ln T on ln H; 0 or infinity where H does not tell how far."""
    if h > 0 and slope > 0:
        step = math.log(target / h) * h / slope
        if abs(step) < 700:
            return at * math.exp(step)
    return math.inf if h < target else 0.0


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
