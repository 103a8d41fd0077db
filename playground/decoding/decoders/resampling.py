"""Importance weights of particles: what a particle weighs, how many effective ones there are, which of them go on.

Shapes: N particles. Log-weights and probabilities are float64, in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

from playground.decoding.sampling import invert_cdf


def log_weight(logprob: Tensor, logprob_drawn: Tensor, temperature: float) -> Tensor:
    """ln w = ln p / T − ln q: what a token (or a sum of them) drawn from q weighs where p^(1/T) is wanted."""
    return logprob / temperature - logprob_drawn


def effective_sample_size(log_weights: Tensor) -> float:
    """1 / Σ w² of the normalised weights [N] (Kong 1992): N where all are equal, 1 where one has all the weight."""
    return float(1.0 / torch.softmax(log_weights, dim=-1).square().sum())


def systematic(log_weights: Tensor, u: Tensor) -> list[int]:
    """N ancestors by systematic resampling: N evenly spaced points, shifted by one uniform number u [1], on the CDF.

    A particle of normalised weight w has N·w offspring on average, and never further from it than one; with equal
    weights every particle goes on once, in its place.
    """
    count = len(log_weights)
    points = (torch.arange(count, dtype=torch.float64) + u) / count
    ancestors: list[int] = invert_cdf(torch.softmax(log_weights, dim=-1).expand(count, -1), points).tolist()
    return ancestors


def one_of(log_weights: Tensor, u: Tensor) -> int:
    """One particle, drawn by its weight with one uniform number u [1]."""
    return int(invert_cdf(torch.softmax(log_weights, dim=-1)[None], u))
