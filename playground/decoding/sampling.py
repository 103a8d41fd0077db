"""Streams of uniform numbers, the inverse of a CDF at one of them, and the names of the filters in their order.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from playground.decoding.kernels import BELOW_ONE

AHEAD = 64  # numbers that are drawn from a stream at once
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


class Uniforms:
    """One number a stream at a time, drawn AHEAD at once: the same numbers as one by one, in less time."""

    def __init__(self, streams: Sequence[torch.Generator]) -> None:
        self._streams = tuple(streams)
        self._place, self._drawn = AHEAD, torch.empty(0)

    def next(self) -> Tensor:
        """[B] float64."""
        if self._place == AHEAD:
            self._drawn = torch.stack([uniform(stream, AHEAD) for stream in self._streams], dim=1)  # [AHEAD, B]
            self._place = 0
        self._place += 1
        return self._drawn[self._place - 1]


def entropy(logprobs: Tensor) -> Tensor:
    """[..., V] log-probabilities → [...] entropy in nats; −inf counts as nothing."""
    return -torch.xlogy(logprobs.exp(), logprobs.exp()).sum(-1)


def invert_cdf(probs: Tensor, u: Tensor) -> Tensor:
    """The index [B] where the cumulative sum of probs [B, V] first exceeds u [B] of its total; never a zero-probability one."""
    cumulative = probs.cumsum(-1)
    return torch.searchsorted(cumulative, u.clamp(max=BELOW_ONE)[:, None] * cumulative[:, -1:], right=True)[:, 0]
