"""`kl-guided`: temperature from what a source document changes (Chang et al. 2023, arXiv 2306.01286).

    p = softmax(logits with the source),  q = softmax(logits without it),  both at T = 1, clipped to [1e-7, 1]
    KL = max(0, Σ p · (ln p − ln q)) in nats
    T  = t0 · 2^(−KL / sigma)

Where the source decides the next token, decoding is nearly greedy; where it says nothing, T = t0. Tokens are drawn from
the logits with the source alone; the second stream reads the same reply after the same prompt without the source.
sigma = 0 switches the guidance off (T = t0).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from playground.decoding.distribution import LN2, Distribution, row_sums
from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind

CLIP = 1e-7


class KLGuided(Policy):
    needs_source = True

    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._t0 = torch.tensor([float(row.spec.values["t0"]) for row in rows], dtype=torch.float64)
        self._sigma = torch.tensor([float(row.spec.values["sigma"]) for row in rows], dtype=torch.float64)

    def decide(self, now: Distribution, hidden: Tensor, state: State) -> Decision:
        assert state.source_free is not None
        kl = divergence(now, state.source_free)
        off = self._sigma == 0
        temperature = torch.where(off, self._t0, self._t0 * 2 ** (-kl / torch.where(off, 1.0, self._sigma)))
        return Decision(temperature, channel={"kl": kl})


def divergence(now: Distribution, free: Distribution) -> Tensor:
    """KL [B] in nats of `now` from `free`, both at T = 1, probabilities clipped to [1e-7, 1], at least 0."""
    p, q = (
        (x.logits - x.top[:, None]).sub_(x.log_total.to(x.logits.dtype)[:, None]).clamp_(math.log(CLIP), 0.0)
        for x in (now, free)
    )
    return row_sums((p - q).mul_((p / LN2).exp2_())).relu()


KIND = PolicyKind(
    name="kl-guided",
    title="KL-guided: cold where the source speaks",
    summary="Compares the next token with and without a source document; where the source decides, it decodes coldly.",
    formula="T = t0 · 2^(−KL(p with source ‖ p without) / sigma)",
    source="Chang et al. 2023, arXiv 2306.01286",
    keys=(
        Key("t0", "float", 1.0, "the temperature where the source changes nothing", 0.0, 5.0),
        Key("sigma", "float", 1.0, "nats of divergence that halve the temperature; 0 switches it off", 0.0, 20.0),
    ),
    build=KLGuided,
    channels=(
        Channel("kl", "KL from the source", "nats", "how far the source moves the next-token distribution", 0.0, 5.0),
    ),
    group="Feedback and guidance",
)
