"""`fixed`: one temperature for every token. T = 1 leaves the model's distribution as it is; T = 0 is greedy."""

from __future__ import annotations

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import KEPT, Key, PolicyKind


class Fixed(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._temperature = torch.tensor([float(row.spec.values["temperature"]) for row in rows], dtype=torch.float64)

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        return Decision(self._temperature)


KIND = PolicyKind(
    name="fixed",
    title="Fixed temperature",
    summary="One temperature for every token, with any of the usual filters.",
    formula="p = softmax(h / T)",
    source="Ackley, Hinton & Sejnowski 1985; filters: see each one's help",
    keys=(Key("temperature", "float", 1.0, "divides the logits; 0 is greedy", 0.0, 5.0),),
    build=Fixed,
    shows=KEPT[1].name,
    group="Fixed and truncation",
)
