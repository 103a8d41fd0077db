"""A penalty for temperatures whose scores zigzag: neighbours on the grid are alike.

    C(P) = mean_k (log P_{k−1} − 2 log P_k + log P_{k+1})²        k = 2 … K − 1

Equation 10 treats the K temperatures as unordered names, so a vote on T = 0.6 against 0.8 says nothing of 0.4. Added
to the loss with a weight, C lends every temperature the votes of its neighbours. It leaves straight lines alone, so the
coldest and the hottest may win, and the softmax's constant does not enter. The paper has no such term.
"""

from __future__ import annotations

from torch import Tensor


def curvature(logprobs: Tensor) -> Tensor:
    """C for log-probabilities [..., K] over an evenly spaced grid, [...] in nats²; 0 where K < 3."""
    if logprobs.shape[-1] < 3:
        return logprobs.sum(-1) * 0
    return logprobs.diff(n=2, dim=-1).square().mean(-1)
