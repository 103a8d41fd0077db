"""`aldr`: temperature from the divergence to the uniform distribution, in closed form (adapted from the adaptive
label-distributionally robust loss, Zhu, Ying & Yang, ICML 2023, arXiv 2112.14869).

    T = l0 · (1 − KL(p ‖ uniform) / (a · ln V)) = l0 · (1 − 1/a + H / (a · ln V))

p = softmax(logits) at T = 1, H its entropy in nats, V the tokens that the model has not ruled out. The paper regularises each training example's
temperature λ towards λ0 and alternates λ = λ0 − KL(p_λ ‖ uniform) / α; its α is our a · ln V / l0, so that a knob fits
every vocabulary and a ≥ 1 keeps T from falling below 0. Departures: a rule for decoding instead of a loss for training; no label
and no margin; one step of the alternation, from p at T = 1, instead of one an epoch.

At the uniform distribution T is l0; without any uncertainty it is l0 · (1 − 1/a).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Key, PolicyKind


class ClosedForm(Policy):
    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._l0 = torch.tensor([float(row.spec.values["l0"]) for row in rows], dtype=torch.float64)
        self._a = torch.tensor([float(row.spec.values["a"]) for row in rows], dtype=torch.float64)

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        most = torch.tensor([math.log(count) for count in now.possible], dtype=torch.float64)
        share = torch.where(most > 0, now.entropy / most, 0.0)
        return Decision(self._l0 * (1 - (1 - share.clamp(0.0, 1.0)) / self._a))


KIND = PolicyKind(
    name="aldr",
    title="ALDR: temperature from distance to uniform",
    summary="Warmer the flatter the distribution, on a straight line from l0 · (1 − 1/a) to l0; like EDT, gentler.",
    formula="T = l0 · (1 − 1/a + H / (a · ln V))",
    source="after Zhu, Ying & Yang, ICML 2023, arXiv 2112.14869, the adaptive LDR-KL loss",
    departure="their training loss turned into a decoding rule: one closed-form step from T = 1, without label or margin.",
    keys=(
        Key("l0", "float", 1.0, "the temperature of a uniform distribution", 0.0, 5.0),
        Key("a", "float", 2.0, "how little a sure token cools: it gets l0 · (1 − 1/a); 1 makes it greedy", 1.0, 1000.0),
    ),
    build=ClosedForm,
)
