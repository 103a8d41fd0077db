"""What the heads of `auto-deco` do on held-out reference text, beside constants and a formula of entropy.

Each rival is chosen on the training tokens alone: the best constant temperature, the best constant pair of temperature and
soft top-p, and T = 2 · sigmoid(a + b·H), two fitted numbers that turn the entropy H into a temperature. All losses are
nats for a reference token; differences are paired by text.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from models.auto_deco import AutoDeco
from playground.training.evaluation.statistics import difference
from playground.training.predictors.ranked import Ranked, losses

TEMPERATURES = [round(0.3 + 0.02 * k, 2) for k in range(61)]  # .3 to 1.5
TOP_PS = [0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 1.0]
SHARES = [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0]
HEATS = [round(0.2 * k, 1) for k in range(11)]


@torch.no_grad()
def figures(heads: AutoDeco, train: Ranked, held_out: Ranked) -> dict[str, Any]:
    """Everything that the card prints."""
    temperature, top_p = heads(held_out.hidden).unbind(-1)
    heat = best_temperature(train)
    pair = best_pair(train)
    slope = entropy_formula(train)
    by_entropy = 2 * torch.sigmoid(slope[0] + slope[1] * held_out.entropy)
    head = losses(held_out, temperature, top_p)
    rivals = {
        "T = 1, the model as it is": losses(held_out, torch.ones_like(temperature), None),
        f"best constant T = {heat:g}": losses(held_out, torch.full_like(temperature, heat), None),
        f"best constants T = {pair[0]:g}, soft top-p {pair[1]:g}": losses(
            held_out, torch.full_like(temperature, pair[0]), torch.full_like(temperature, pair[1])
        ),
        f"T = 2·sigmoid({slope[0]:.3f} {slope[1]:+.3f}·H)": losses(held_out, by_entropy, None),
        "the heads' T without their top-p": losses(held_out, temperature, None),
    }
    return {
        "held_out": {
            "tokens": len(held_out),
            "texts": int(held_out.text.unique().numel()),
            "head": float(head.mean()),
            "rivals": {name: _against(head, loss, held_out.text) for name, loss in rivals.items()},
        },
        "hard_top_p": _hard(held_out, temperature, top_p),
        "temperature": _distribution(temperature, HEATS),
        "top_p": _distribution(top_p, SHARES),
        "first_token_temperature": float(temperature[_first(held_out.text)].mean()),
        "correlation_temperature_entropy": _pearson(temperature, held_out.entropy),
        "rank_correlation_temperature_entropy": _pearson(_ranks(temperature), _ranks(held_out.entropy)),
        "correlation_temperature_top_p": _pearson(temperature, top_p),
    }


def best_temperature(train: Ranked) -> float:
    """The constant with the lowest mean loss."""
    means = {t: float(losses(train, torch.full((len(train),), t), None).mean()) for t in TEMPERATURES}
    return min(means, key=means.__getitem__)


def best_pair(train: Ranked) -> tuple[float, float]:
    """The constant temperature and soft top-p with the lowest mean loss, on every fourth token."""
    tokens = train.at(torch.arange(0, len(train), 4))
    ones = torch.ones(len(tokens))
    means = {(t, p): float(losses(tokens, t * ones, p * ones).mean()) for t in TEMPERATURES[::5] for p in TOP_PS}
    near = min(means, key=means.__getitem__)[0]
    close = [t for t in TEMPERATURES if abs(t - near) < 0.1]
    means = {(t, p): float(losses(tokens, t * ones, p * ones).mean()) for t in close for p in TOP_PS}
    return min(means, key=means.__getitem__)


@torch.enable_grad()
def entropy_formula(train: Ranked) -> tuple[float, float]:
    """a and b of T = 2 · sigmoid(a + b·H) with the lowest mean loss, by L-BFGS from T = 1."""
    numbers = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.LBFGS([numbers], max_iter=25, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = losses(train, 2 * torch.sigmoid(numbers[0] + numbers[1] * train.entropy), None).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    a, b = numbers.tolist()
    return a, b


def _against(head: Tensor, loss: Tensor, text: Tensor) -> dict[str, Any]:
    """The rival's mean over tokens, and the heads minus it over texts."""
    minus = difference(_by_text(head, text), _by_text(loss, text))
    half = minus.half if math.isfinite(minus.half) else None
    return {"nats": float(loss.mean()), "head_minus_it": {"mean": minus.mean, "half": half}}


def _by_text(values: Tensor, text: Tensor) -> list[float]:
    return [float(values[text == number].mean()) for number in text.unique()]


def _first(text: Tensor) -> Tensor:
    """Which tokens [N] are the first of their reply; texts stand one after the other."""
    return torch.cat([torch.tensor([True]), text[1:] != text[:-1]])


def _hard(tokens: Ranked, temperature: Tensor, top_p: Tensor) -> dict[str, float]:
    """What decoding's hard top-p does: how many tokens stay, what mass, and how often the reference token falls out."""
    scores = tokens.values / temperature[:, None] + tokens.counts.log()
    probs = (scores - torch.logsumexp(scores, -1, keepdim=True)).exp()
    keep = probs.cumsum(-1) - probs < top_p[:, None]
    kept = keep.gather(-1, tokens.place[:, None])[:, 0]
    return {
        "reference_tokens_out": float((~kept).double().mean()),
        "median_tokens_kept": float((tokens.counts * keep).sum(-1).median()),
    }


def _distribution(values: Tensor, edges: list[float]) -> dict[str, Any]:
    """Shares between neighbouring edges, the mean, and the 5 %, 50 % and 95 % quantiles."""
    inner = torch.tensor(edges[1:-1], dtype=values.dtype)
    counts = torch.bincount(torch.bucketize(values.contiguous(), inner, right=True), minlength=len(edges) - 1).double()
    quantiles = torch.quantile(values.double(), torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
    return {
        "edges": edges,
        "shares": (counts / len(values)).tolist(),
        "mean": float(values.mean()),
        "quantiles": quantiles,
    }


def _ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


def _pearson(a: Tensor, b: Tensor) -> float:
    """Pearson's r; 0 where one of them does not vary."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 0.0
