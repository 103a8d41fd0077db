"""What a temperature network does on held-out reference text, beside the exact optimum and the best constant.

All of them within decoding's bounds [LOW, HIGH]. The optimum is the policy `target-entropy`; the constant is the one with
the lowest robust loss on the training tokens. A step is clipped where the optimum stands at a bound: no temperature within
them reaches the target entropy there, so errors of entropy are given over the other steps, with the share clipped beside.

Shapes: N tokens, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from models.tempnet import TempNet
from playground.decoding.distribution import Distribution
from playground.decoding.policies.target_entropy import solve
from playground.training.predictors.robust import CHUNK, Curves

if TYPE_CHECKING:
    from playground.training.predictors.tempnet import Tokens

LOW, HIGH = 0.01, 1.2  # decoding's bounds, the defaults of the policies
MOST = 2000  # held-out tokens measured, evenly spaced
EDGES = (0.01, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


@torch.no_grad()
def figures(
    network: TempNet, train: Curves, held_out: Tokens, logits: Callable[[Tensor], Tensor], target: float
) -> dict[str, Any]:
    """Everything that the card prints."""
    constant = best_constant(train, target)
    measured = measure(network, held_out, logits, target, constant)
    entropy, optimum = measured.pop("entropy"), measured["target-entropy"]["temperature"]
    free = (optimum > LOW) & (optimum < HIGH)
    rivals = {name: _figures(columns, entropy, free, target) for name, columns in measured.items()}
    network_taus = measured["network"]["temperature"]
    return {
        "measured": {
            "tokens": len(entropy),
            "free": int(free.sum()),
            "clipped_high": float((optimum >= HIGH).double().mean()),
            "clipped_low": float((optimum <= LOW).double().mean()),
            "entropy_mean": float(entropy.mean()),
            "entropy_median": float(entropy.median()),
            "correlation_network_optimum": _pearson(network_taus, optimum),
            "error_of_temperature": float((network_taus - optimum).abs().mean()),
        },
        "constant": constant,
        "rivals": rivals,
        "edges": EDGES,
        "shares": _shares(network_taus),
    }


def best_constant(train: Curves, target: float) -> float:
    """The temperature in [LOW, HIGH], in steps of .01, with the lowest mean loss on the training tokens."""
    grid = [round(0.01 * k, 2) for k in range(1, round(HIGH / 0.01) + 1)]
    means = {t: float(train.loss(torch.full((len(train),), t), target).double().mean()) for t in grid}
    return min(means, key=means.__getitem__)


@torch.no_grad()
def measure(
    network: TempNet, tokens: Tokens, logits: Callable[[Tensor], Tensor], target: float, constant: float
) -> dict[str, Any]:
    """By rival: temperature, entropy at it and robust loss [N] of evenly spaced tokens; "entropy": that at T = 1."""
    rows = torch.arange(0, len(tokens), -(-len(tokens) // MOST))
    names = ("network", "target-entropy", "constant")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    plain = []
    exact = copy.deepcopy(network).double().eval()
    for row, h in tqdm(
        _with_logits(rows, tokens.hidden, logits), total=len(rows), desc="held-out figures", mininterval=5
    ):
        lowered = h - h.max()
        said = min(max(float(exact(h[None], tokens.hidden[row : row + 1])), LOW), HIGH)
        taus = (said, solve(h, target, LOW, HIGH)[0], constant)
        miss = -float(lowered[tokens.labels[row]])
        now = Distribution(h[None])
        for name, tau in zip(names, taus, strict=True):
            at = float(now.tempered(torch.tensor([tau], dtype=torch.float64)).entropy)
            found[name].append((tau, at, tau * _log_sum(lowered, tau) - target * tau + miss))
        plain.append(float(now.entropy))
    keys = ("temperature", "entropy", "loss")
    columns = {
        n: dict(zip(keys, torch.tensor(v, dtype=torch.float64).T.contiguous(), strict=True)) for n, v in found.items()
    }
    return {**columns, "entropy": torch.tensor(plain, dtype=torch.float64)}


def _with_logits(rows: Tensor, hidden: Tensor, logits: Callable[[Tensor], Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Each row with its logits [V] in float64."""
    for chunk in rows.split(CHUNK):
        yield from zip(chunk.tolist(), logits(hidden[chunk]).double(), strict=True)


def _log_sum(lowered: Tensor, tau: float) -> float:
    return float(torch.logsumexp(lowered / tau, dim=-1))


def _figures(columns: dict[str, Tensor], entropy: Tensor, free: Tensor, target: float) -> dict[str, Any]:
    miss = (columns["entropy"] - target).abs()
    heat = columns["temperature"]
    return {
        "entropy_error": float(miss[free].mean()),
        "entropy_error_clipped": float(miss[~free].mean()) if (~free).any() else None,
        "loss": float(columns["loss"].mean()),
        "temperature_mean": float(heat.mean()),
        "at_bounds": float(((heat <= LOW) | (heat >= HIGH)).double().mean()),
        "correlation_entropy": _pearson(heat, entropy),
        "rank_correlation_entropy": _pearson(_ranks(heat), _ranks(entropy)),
    }


def _shares(values: Tensor) -> list[float]:
    """Shares of the temperatures between neighbouring EDGES."""
    inner = torch.tensor(EDGES[1:-1], dtype=values.dtype)
    counts = torch.bincount(torch.bucketize(values, inner, right=True), minlength=len(EDGES) - 1)
    return (counts.double() / len(values)).tolist()


def _ranks(values: Tensor) -> Tensor:
    """Ranks, equal values sharing their mean rank."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    return (ends - (counts - 1) / 2)[place]


def _pearson(a: Tensor, b: Tensor) -> float | None:
    """Pearson's r; None where one of them does not vary."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 1e-12 else None
