"""`forking`: one temperature where the reply may fork and another where it follows
(Wang et al. 2025, "Beyond the 80/20 Rule", arXiv 2506.01939).

    T = high where H > threshold, else low        H the entropy of softmax(logits) at T = 1 in nats

The paper's threshold, 0.672 nats, is the 80th percentile over Qwen3-8B's own reasoning; it marks most tokens of a small
model (figures in `threshold`'s help). Departure 1: by default the threshold is the running `percentile` of the reply's own
entropies so far, the present token's included, interpolated linearly as NumPy does. So the first token is its own
threshold and never forks, the second forks if it is the less certain of the two, and in the long run of a reply whose
entropies do not drift 20 % fork at the 80th percentile. Departure 2: H is taken at T = 1, not at the temperature drawn with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.counts import several
from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.trace import TokenStep


class Forking(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._values = [row.spec.values for row in rows]
        self._seen: list[list[float]] = [[] for _ in rows]

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        entropies = now.entropy
        for seen, h in zip(self._seen, entropies.tolist(), strict=True):
            seen.append(h)
        threshold = torch.tensor([self._threshold(b) for b in range(len(self._values))], dtype=torch.float64)
        forking = entropies > threshold
        heats = [[float(values[name]) for name in ("low", "high")] for values in self._values]
        low, high = torch.tensor(heats, dtype=torch.float64).T
        return Decision(torch.where(forking, high, low), channel={"forking": forking.double(), "threshold": threshold})

    def _threshold(self, row: int) -> float:
        """The fixed threshold of a row in nats, or the percentile of its entropies so far."""
        fixed, percentile = (float(self._values[row][name]) for name in ("threshold", "percentile"))
        if fixed > 0:
            return fixed
        return float(torch.tensor(self._seen[row], dtype=torch.float64).quantile(percentile / 100))


def share(values: Mapping[str, Value], steps: Sequence[TokenStep]) -> str:
    """The share of forking tokens in one sentence."""
    forked = sum(step.channel["forking"] for step in steps) / len(steps)
    return f"{forked:.0%} of {several(len(steps), 'token')} forked (T = {values['high']}), the others followed (T = {values['low']})."


KIND = PolicyKind(
    name="forking",
    title="Forking tokens: two temperatures",
    summary="Hot at the least certain fifth of the tokens, cold at the rest: T rises with entropy, in one step.",
    formula="T = high if H > threshold else low",
    source="Wang et al. 2025, arXiv 2506.01939",
    departure="the threshold is a running percentile of the reply's own entropies unless one is given; the paper's is 0.672 "
    "nats, Qwen3-8B's 80th percentile.",
    keys=(
        Key("high", "float", 1.0, "the temperature of forking tokens", 0.0, 5.0),
        Key("low", "float", 0.3, "the temperature of all other tokens", 0.0, 5.0),
        Key(
            "percentile",
            "float",
            80.0,
            "a token forks above this percentile of the reply's entropies so far, its own included; the first never does",
            0.0,
            100.0,
        ),
        Key(
            "threshold",
            "float",
            0.0,
            "a fixed threshold in nats instead; 0 keeps the running percentile. The paper's 0.672 is of Qwen3-8B: it marks "
            "84–90 % of the embedded model's own tokens",
            0.0,
            15.0,
        ),
    ),
    build=Forking,
    note=share,
    channels=(
        Channel(
            "forking",
            "Forking token",
            "",
            "whether the token's entropy lies above the threshold",
            0.0,
            1.0,
            words=("other", "forking"),
            figure="",
        ),
        Channel("threshold", "Forking threshold", "nats", "the entropy above which this token would fork", 0.0, 6.0),
    ),
)
