"""Latent preference optimization, separate loss (Dhuliawala et al. 2024, arXiv 2411.09661, equation 10).

With the language model frozen, a pair (c chosen, r rejected) teaches the head through the temperatures that were drawn:

    L = −log σ( β Σ_t [log P(τc_t | hc_t) + log K] − β Σ_t [log P(τr_t | hr_t) + log K] )

Numbered departures
1. The uniform reference log P_ref = −log K is subtracted for every token. Without it the loss has a length bias: at the
   uniform start the margin would be β (T_r − T_c) log K, large for replies of unequal length; with it the margin is 0.
2. An entropy-like pull keeps the head near uniform where the votes say nothing: λ · mean KL(uniform ‖ P(· | h)). The
   paper has none, and separable data would drive the logits to infinity.

At sequence level each sum has one term. Shapes: N steps of all replies, K temperatures, P pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def step_scores(logprobs: Tensor, index: Tensor) -> Tensor:
    """log P(τ_t | h_t) + log K for the drawn temperatures `index` [N], from log-probabilities [N, K]; [N], nats."""
    return logprobs.gather(-1, index[:, None])[:, 0] + math.log(logprobs.shape[-1])


def margins(scores: Tensor, pair: Tensor, sign: Tensor, pairs: int) -> Tensor:
    """Chosen minus rejected, summed over steps: [P] from scores [N], pair numbers [N] and signs [N] (+1 chosen, −1 rejected)."""
    return scores.new_zeros(pairs).index_add(0, pair, scores * sign)


def separate_loss(margin: Tensor, beta: float) -> Tensor:
    """Equation 10 averaged over pairs, from margins [P]; −log σ(βm) = softplus(−βm)."""
    return torch.nn.functional.softplus(-beta * margin).mean()


def pull_to_uniform(logprobs: Tensor) -> Tensor:
    """mean KL(uniform ‖ P) over steps [N, K] in nats; 0 for the uniform head."""
    return (-logprobs.mean(-1) - math.log(logprobs.shape[-1])).mean()
