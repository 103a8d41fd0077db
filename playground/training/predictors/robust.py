"""TempNet's robust loss of one token as a function of its temperature, exact and tabulated.

    L(tau) = tau · ln[(1/V) Σ_k exp((h_k − h_y) / tau)] + rho · tau           (Qiu et al., ICML 2024, arXiv 2404.04575)
    L'(tau) = H(softmax(h / tau)) − (ln V − rho)                              the label y has cancelled; L is convex

With the model frozen, L is one convex curve for every token, so it is computed once: F(tau) = tau · ln Σ_k exp((h_k −
max h) / tau) and its slope F' = H on temperatures equally spaced in √tau, and a cubic with those values and slopes between
them (Hermite). Then L = F − (ln V − rho) · tau + max h − h_y, for any rho: an epoch costs no logits, and neither does
another target once a text's curves are in the cache.

Shapes: N tokens, V vocabulary, G temperatures of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.tempnet import RULED_OUT
from playground.training.cache import cached

NODES = 24
CHUNK = 64  # tokens whose logits are held at once
NOTHING = -80.0  # e^−80 counts as nothing, and exp() is ten times slower where it underflows
_COLUMNS = ("value", "slope", "miss", "top", "length")


@dataclass(frozen=True)
class Curves:
    """The losses of N tokens, and what the folded first layer reads beside their states.

    value, slope   [N, G] of F over `nodes` [G]
    miss           [N] max h − h_y
    top, length    [N, 1] max h and ‖h − max h‖₂
    """

    nodes: Tensor
    value: Tensor
    slope: Tensor
    miss: Tensor
    top: Tensor
    length: Tensor

    def __len__(self) -> int:
        return len(self.miss)

    def at(self, rows: Tensor) -> Curves:
        return Curves(self.nodes, *(getattr(self, name)[rows] for name in _COLUMNS))

    @classmethod
    def joined(cls, parts: Sequence[Curves]) -> Curves:
        """The tokens of several tables over the same temperatures, in order."""
        return cls(parts[0].nodes, *(torch.cat([getattr(part, name) for part in parts]) for name in _COLUMNS))

    def loss(self, tau: Tensor, target: float) -> Tensor:
        """L [N] in nats at temperatures [N] within the table, for the target entropy ln V − rho; differentiable."""
        roots = self.nodes.sqrt()
        step = (roots[-1] - roots[0]) / (len(roots) - 1)
        u = (tau.sqrt() - roots[0]) / step  # place among the nodes
        left = u.detach().floor().long().clamp(0, len(roots) - 2)
        t, column = u - left, left[:, None]
        value, slope = self.value, self.slope * 2 * roots * step  # dF / du
        p, q = (value.gather(-1, column + k)[:, 0] for k in (0, 1))
        m, n = (slope.gather(-1, column + k)[:, 0] for k in (0, 1))
        f = p + t * (m + t * (3 * (q - p) - 2 * m - n + t * (2 * (p - q) + m + n)))
        return f - target * tau + self.miss


@torch.no_grad()
def curves(logits: Tensor, labels: Tensor, low: float, high: float, nodes: int = NODES) -> Curves:
    """The curves of logits [N, V] and labels [N] over `nodes` temperatures from `low` to `high`."""
    top = logits.amax(-1, keepdim=True)
    lowered, gone = logits - top, logits <= top - RULED_OUT
    lowered = lowered.masked_fill_(gone, -RULED_OUT) if gone.any() else lowered
    taus = torch.linspace(low**0.5, high**0.5, nodes, dtype=torch.float64).square().to(logits.dtype)
    value, slope, weights = [], [], torch.empty_like(lowered)
    for tau in taus:
        torch.div(lowered, tau, out=weights).clamp_(min=NOTHING).exp_()
        total = weights.sum(-1)
        value.append(tau * total.log())
        slope.append(total.log() - torch.linalg.vecdot(weights, lowered) / total / tau)
    miss = (top - logits.gather(-1, labels[:, None]))[:, 0]
    length = lowered.masked_fill_(gone, 0.0).norm(dim=-1, keepdim=True)  # ruled-out tokens have no part in it
    return Curves(taus, torch.stack(value, -1), torch.stack(slope, -1), miss, top, length)


def cached_curves(
    hidden: Tensor,
    labels: Tensor,
    logits: Callable[[Tensor], Tensor],
    bounds: tuple[float, float],
    key: str,
    folder: Path,
) -> Curves:
    """The curves of one text's states [T, H] and labels [T], kept in `folder` under the sha256 of `key` and the table."""

    def make() -> dict[str, Tensor]:
        parts = zip(hidden.split(CHUNK), labels.split(CHUNK), strict=True)
        made = Curves.joined([curves(logits(states), ids, *bounds) for states, ids in parts])
        return {"nodes": made.nodes, **{column: getattr(made, column) for column in _COLUMNS}}

    found = cached(folder, f"{key}\nrobust {bounds} {NODES}", make)
    return Curves(found["nodes"], *(found[column] for column in _COLUMNS))
