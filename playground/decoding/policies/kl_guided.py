"""`kl-guided`: temperature from what a source document changes (Chang et al. 2023, arXiv 2306.01286).

    p = softmax(logits with the source),  q = softmax(logits without it),  both at T = 1, clipped to [1e-7, 1]
    KL = max(0, Σ p · (ln p − ln q)) in nats
    T  = t0 · 2^(−KL / sigma)

Where the source decides the next token, decoding is nearly greedy; where it says nothing, T = t0. Tokens are drawn from
the logits with the source alone; the second stream reads the same reply after the same prompt without the source.
sigma = 0 switches the guidance off (T = t0).
"""

from __future__ import annotations

import torch
from torch import Tensor

from playground.decoding.policies.base import Decision, Policy, Resources, Row, State
from playground.decoding.policies.spec import Channel, Key, PolicyKind

CLIP = 1e-7


class KLGuided(Policy):
    needs_source = True

    def __init__(self, rows: tuple[Row, ...], resources: Resources) -> None:
        self._t0 = torch.tensor([float(row.spec.values["t0"]) for row in rows], dtype=torch.float64)
        self._sigma = torch.tensor([float(row.spec.values["sigma"]) for row in rows], dtype=torch.float64)

    def decide(self, logits: Tensor, hidden: Tensor, state: State) -> Decision:
        assert state.source_free_logits is not None
        kl = divergence(logits, state.source_free_logits)
        off = self._sigma == 0
        temperature = torch.where(off, self._t0, self._t0 * 2 ** (-kl / torch.where(off, 1.0, self._sigma)))
        return Decision(temperature, channel={"kl": kl})


def divergence(logits: Tensor, free: Tensor) -> Tensor:
    """KL [B] in nats of softmax(logits [B, V]) from softmax(free [B, V]), probabilities clipped to [1e-7, 1], at least 0."""
    p, q = (torch.softmax(x, dim=-1).clamp(CLIP, 1.0) for x in (logits, free))
    return (p * (p.log() - q.log())).sum(-1).relu()


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
