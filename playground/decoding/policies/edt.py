"""`edt`: entropy-based dynamic temperature (Zhang et al. 2024, arXiv 2403.14541).

    T = t0 · N^(theta / H),  N = 0.8,  H the entropy of softmax(logits) at T = 1 in nats

H → ∞ gives t0; H → 0 gives greedy decoding (T underflows to exactly 0 below about H = theta / 3300). A negative theta
would exceed t0 without bound as H → 0, so theta is at least 0 here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Key, PolicyKind

BASE = 0.8


class EntropyDynamicTemperature(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._t0 = torch.tensor([float(row.spec.values["t0"]) for row in rows], dtype=torch.float64)
        self._theta = torch.tensor([float(row.spec.values["theta"]) for row in rows], dtype=torch.float64)

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        h = now.entropy.clamp(min=torch.finfo(torch.float64).tiny)
        return Decision(self._t0 * BASE ** (self._theta / h))


KIND = PolicyKind(
    name="edt",
    title="EDT: temperature from entropy",
    summary="Cold where the model is sure, up to t0 where it is not; a formula, nothing learned.",
    formula="T = t0 · 0.8^(theta / H)",
    source="Zhang et al. 2024, arXiv 2403.14541: T₀ · N^(θ / Entropy) with N = 0.8",
    keys=(
        Key("t0", "float", 1.0, "the temperature approached at high entropy", 0.0, 5.0),
        Key("theta", "float", 1.0, "how fast low entropy cools, in nats; 0 switches it off", 0.0, 20.0),
    ),
    build=EntropyDynamicTemperature,
)
