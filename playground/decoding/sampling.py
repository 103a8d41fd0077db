"""From logits to a drawn token: temperature, filters, entropy, and the inverse of the CDF at one uniform number.

Everything after the model's logits is computed in float64, so that no figure depends on how many rows stand beside it.
Shapes: B rows, V vocabulary. Filters follow transformers' warpers, applied one after the other in FILTER_ORDER, each on
what the one before it left; top_n_sigma (Tang et al. 2024, arXiv 2411.07641) reads the unfiltered logits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

FILTER_ORDER = ("top_k", "top_p", "min_p", "typical_p", "eta_cutoff", "top_n_sigma")
FILTER_OFF: Mapping[str, float] = {
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "eta_cutoff": 0.0,
    "top_n_sigma": 0.0,
}


def stream_key(*parts: object) -> int:
    """A 63-bit seed from sha256 over the parts' text, one to a line."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def random_stream(*parts: object) -> torch.Generator:
    """A generator of its own for these parts (seed, spec, replica, …)."""
    return torch.Generator().manual_seed(stream_key(*parts))


def uniform(stream: torch.Generator, count: int = 1) -> Tensor:
    """`count` float64 numbers in [0, 1)."""
    return torch.rand(count, dtype=torch.float64, generator=stream)


def entropy(logprobs: Tensor) -> Tensor:
    """[..., V] log-probabilities → [...] entropy in nats; −inf counts as nothing."""
    return -torch.xlogy(logprobs.exp(), logprobs.exp()).sum(-1)


def invert_cdf(probs: Tensor, u: Tensor) -> Tensor:
    """The index [B] where the cumulative sum of probs [B, V] first exceeds u [B] of its total; never a zero-probability one."""
    cumulative = probs.cumsum(-1)
    index = torch.searchsorted(cumulative, (u * cumulative[:, -1])[:, None], right=True)[:, 0]
    last = probs.shape[-1] - 1 - (probs > 0).flip(-1).to(torch.int8).argmax(-1)  # u·total may round up to the total
    return torch.minimum(index, last)


def tempered(logits: Tensor, temperature: Tensor) -> Tensor:
    """Log-probabilities [B, V] of softmax(logits / T); T = 0 is all mass on the (first) largest logit: greedy."""
    greedy = temperature == 0
    lowered = logits - logits.max(-1, keepdim=True).values  # so that no quotient by a tiny T overflows upwards
    logprobs = torch.log_softmax(lowered / torch.where(greedy, 1.0, temperature)[:, None], dim=-1)
    if greedy.any():
        best = logits.argmax(-1, keepdim=True)
        one_hot = torch.full_like(logprobs, -math.inf).scatter(-1, best, 0.0)
        logprobs = torch.where(greedy[:, None], one_hot, logprobs)
    return logprobs


def filtered(logprobs: Tensor, logits: Tensor, settings: Sequence[Mapping[str, float]]) -> Tensor:
    """Log-probabilities [B, V] after each row's own filters, renormalised.

    `settings[b]` holds row b's filter values by name. At least one token always stays, and a greedy row is unchanged.
    """
    result = logprobs.clone()
    for name in FILTER_ORDER:
        rows = [b for b, values in enumerate(settings) if values[name] != FILTER_OFF[name]]
        if rows:
            values = torch.tensor([float(settings[b][name]) for b in rows], dtype=result.dtype)[:, None]
            result[rows] = _keep(result[rows], _FILTERS[name](result[rows], logits[rows], values))
    return result


def _keep(logprobs: Tensor, keep: Tensor) -> Tensor:
    """Log-probabilities renormalised over `keep`; where that leaves nothing, over the most probable token alone."""
    empty = ~(keep & (logprobs > -math.inf)).any(-1, keepdim=True)
    keep = torch.where(empty, torch.zeros_like(keep).scatter(-1, logprobs.argmax(-1, keepdim=True), True), keep)
    return torch.log_softmax(logprobs.masked_fill(~keep, -math.inf), dim=-1)


def _top_k(logprobs: Tensor, logits: Tensor, k: Tensor) -> Tensor:
    """The k most probable; ties with the k-th stay."""
    counts = k.long().clamp(max=logprobs.shape[-1])
    best = logprobs.topk(int(counts.max()), dim=-1).values
    return logprobs >= best.gather(-1, counts - 1)


def _top_p(logprobs: Tensor, logits: Tensor, p: Tensor) -> Tensor:
    return nucleus(logprobs, p)


def nucleus(logprobs: Tensor, p: Tensor) -> Tensor:
    """The smallest set [B, V] of most probable tokens with mass >= p [B, 1] (Holtzman et al. 2020); empty where p is 0."""
    ordered, order = logprobs.sort(dim=-1, descending=True, stable=True)
    mass_before = ordered.exp().cumsum(-1) - ordered.exp()
    return torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, mass_before < p)


def _min_p(logprobs: Tensor, logits: Tensor, p: Tensor) -> Tensor:
    """Tokens with at least p times the probability of the best one (Nguyen et al. 2024, arXiv 2407.01082)."""
    return logprobs >= logprobs.max(-1, keepdim=True).values + p.log()


def _typical_p(logprobs: Tensor, logits: Tensor, p: Tensor) -> Tensor:
    """The tokens whose surprisal is nearest the entropy, up to mass p (Meister et al. 2023, arXiv 2202.00666)."""
    distance = (-logprobs - entropy(logprobs)[:, None]).abs()
    order = distance.sort(dim=-1, stable=True).indices
    probs = logprobs.exp().gather(-1, order)
    return torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, probs.cumsum(-1) - probs < p)


def _eta_cutoff(logprobs: Tensor, logits: Tensor, eta: Tensor) -> Tensor:
    """Tokens with p >= min(eta, sqrt(eta)·exp(−H)) (Hewitt et al. 2022, arXiv 2210.15191)."""
    return logprobs.exp() >= torch.minimum(eta, eta.sqrt() * torch.exp(-entropy(logprobs))[:, None])


def _top_n_sigma(logprobs: Tensor, logits: Tensor, n: Tensor) -> Tensor:
    """Tokens whose logit is within n standard deviations of the largest; the temperature does not matter."""
    return logits >= logits.max(-1, keepdim=True).values - n * logits.std(-1, keepdim=True, correction=0)


_FILTERS = {
    "top_k": _top_k,
    "top_p": _top_p,
    "min_p": _min_p,
    "typical_p": _typical_p,
    "eta_cutoff": _eta_cutoff,
    "top_n_sigma": _top_n_sigma,
}
