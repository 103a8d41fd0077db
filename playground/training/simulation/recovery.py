"""How well equation 10 finds a kind's hidden best temperature from simulated votes: learners of tables, and the score.

A learner minimises, in each replication by itself,

    mean over votes of −log σ( β [log P(τc | h) − log P(τr | h)] ) + pull · KL(uniform ‖ P) + smooth · C(P)

`tabular` has one row of scores a kind and reads no state (with pull = smooth = 0 it is Bradley–Terry). `win_rate` is the
share of its votes that a temperature won. `informed` knows the world: for every possible best temperature, how probable
are these votes? No learner can be expected to beat it.

Votes are counted by (state, chosen, rejected), which is the same sum as vote by vote and costs no more for more votes.
Shapes: B kinds, S states of one replication, K temperatures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from playground.training.curvature import curvature
from playground.training.lpo import preference_losses, row_pull
from playground.training.simulation.voters import World


@dataclass(frozen=True)
class Learner:
    """How scores are fitted: `steps` of Adam over all votes at once; beta, pull and smooth stand in the module's formula.

    smoothing       label smoothing by a measured flip rate
    """

    beta: float = 1.0
    pull: float = 0.02
    smooth: float = 0.2
    smoothing: float = 0.0
    steps: int = 120
    learning_rate: float = 0.1


@dataclass(frozen=True)
class Recovered:
    """Share of kinds within one grid step of the best temperature, exactly on it, and mean loss of utility; `count` kinds."""

    within_one: float
    exact: float
    regret: float
    count: int

    @property
    def half(self) -> float:
        """Half-width of the 95 % interval of `within_one`, kinds independent."""
        return 1.96 * math.sqrt(self.within_one * (1 - self.within_one) / self.count)


def chance(temperatures: int, steps: int = 1) -> float:
    """P(|guess − best| ≤ steps) for two independent uniform draws from the grid: 19/49 for seven temperatures and one step."""
    near = sum(abs(a - b) <= steps for a in range(temperatures) for b in range(temperatures))
    return near / temperatures**2


def score(logprobs: Tensor, best: Tensor, utility: Tensor) -> Recovered:
    """The argmax of [B, K] or [B, S, K] (S prompts of a kind, averaged) against best [B] and utility [B, K]."""
    pick = logprobs.argmax(-1).reshape(len(best), -1)  # [B, S]
    off = (pick - best[:, None]).abs()
    regret = utility.max(-1).values[:, None] - utility.gather(1, pick)
    within_one, exact, lost = (value.float().mean().item() for value in (off <= 1, off == 0, regret))
    return Recovered(within_one, exact, lost, len(best))


def loss(logprobs: Tensor, wins: Tensor, learner: Learner) -> Tensor:
    """The module's formula with states [..., S, K] and counts [..., S, K, K], one value a replication, [...]."""
    margin = logprobs[..., :, None] - logprobs[..., None, :]  # [..., S, K, K], chosen − rejected
    votes = wins.sum((-3, -2, -1)).clamp_min(1)
    fit = (wins * preference_losses(margin, learner.beta, learner.smoothing)).sum((-3, -2, -1)) / votes
    return fit + learner.pull * row_pull(logprobs).mean(-1) + learner.smooth * curvature(logprobs).mean(-1)


def tabular(wins: Tensor, learner: Learner) -> Tensor:
    """Log-probabilities [B, K] of one row of scores a kind, from counts [B, K, K]."""
    scores = torch.zeros(wins.shape[:2], requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=learner.learning_rate)
    for _ in range(learner.steps):
        optimizer.zero_grad()
        loss(scores.log_softmax(-1)[:, None], wins[:, None], learner).sum().backward()
        optimizer.step()
    return scores.detach().log_softmax(-1)


def win_rate(wins: Tensor) -> Tensor:
    """Log of the share of its votes that each temperature won, one win and one loss added, [B, K]."""
    won, lost = wins.sum(-1), wins.sum(-2)
    return ((won + 1) / (won + lost + 2)).log()


def informed(wins: Tensor, world: World) -> Tensor:
    """Log of the posterior probability that the best lies within one step of k, [B, K], for a voter who is exact."""
    temperatures = len(world.grid)
    utility = world.utility(torch.arange(temperatures))  # [K of best, K]
    variance = world.spread().square()
    spread = (variance[:, None] + variance[None, :]).sqrt()
    prefers = torch.special.log_ndtr((utility[:, :, None] - utility[:, None, :]) / spread)  # [best, K, K]
    posterior = torch.einsum("bij,kij->bk", wins, prefers).softmax(-1)
    near = torch.nn.functional.pad(posterior, (1, 1)).unfold(-1, 3, 1).sum(-1)
    return near.log()
