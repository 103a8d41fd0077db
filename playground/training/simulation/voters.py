"""Simulated voters: kinds of prompts with a hidden best temperature, noisy replies, and ways of voting on two of them.

    u_k = height · exp(−½ ((τ_k − τ*) / width)²)        mean quality of a reply at τ_k; τ* is the kind's best temperature
    q   = u_k + s(τ_k) · ε                              quality of one reply, ε standard normal
    s(τ) = cold + rise · τ                              hot replies spread more: they are among the best and the worst
    l   = ρ · z(τ_k) + √(1 − ρ²) · ε'                   length of the reply, standardised; z(τ) standardised over the grid

Assumptions
1. τ* lies on the grid, every temperature equally likely, kinds independent; prompts of one kind share u.
2. Two arms are two different temperatures, uniform over the grid without replacement, as the app draws them.
3. Quality is measured in standard deviations of a reply at τ = 1 (cold + rise = 1). Replies at τ = 0 spread too, since
   prompts do: greedy answers one prompt well and another badly.
4. height = 0.6 is chosen so that plain Bradley–Terry scores of one kind come within one step of τ* with the
   probabilities known from a tabular simulation (about .60, .67–.79, .82–.93 at 30, 100, 300 exact votes); width = 0.5
   fits the measured fall of exact answers from T = 0 to 1.2 and of variety on both sides of 0.7.
5. Length grows with temperature (ρ = 0.3) and says nothing about quality.

Shapes: B kinds, N votes a kind, K temperatures of the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from playground.training.labels.lanes import GRID

Voter = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""(quality of a − quality of b, length of a − length of b, randomness) → +1 for a, −1 for b, 0 for a tie; all [B, N]."""


@dataclass(frozen=True)
class World:
    """What the voters judge; the module's docstring says what each number means."""

    grid: tuple[float, ...] = GRID
    height: float = 0.6
    width: float = 0.5
    cold: float = 0.6
    rise: float = 0.4
    length_correlation: float = 0.3

    def utility(self, best: Tensor) -> Tensor:
        """Mean quality [B, K] for the grid numbers [B] of the best temperatures."""
        tau = torch.tensor(self.grid)
        return self.height * torch.exp(-0.5 * ((tau - tau[best][:, None]) / self.width) ** 2)

    def spread(self) -> Tensor:
        """Standard deviation [K] of a reply's quality at each temperature."""
        return self.cold + self.rise * torch.tensor(self.grid)

    def length(self) -> Tensor:
        """Mean standardised length [K] of a reply at each temperature."""
        tau = torch.tensor(self.grid)
        return self.length_correlation * (tau - tau.mean()) / tau.std(correction=0)


@dataclass(frozen=True)
class Votes:
    """N votes on each of B kinds: grid numbers [B, N] of the preferred and of the other reply, and False where it was a tie."""

    chosen: Tensor
    rejected: Tensor
    decided: Tensor

    def wins(self, temperatures: int, cell: Tensor | None = None, cells: int = 1) -> Tensor:
        """How often i was preferred to j, [B, cells, K, K]; `cell` [B, N] sorts the votes of a kind, e.g. by prompt."""
        place = (self.chosen * temperatures + self.rejected) + (0 if cell is None else cell * temperatures**2)
        counts = torch.zeros(len(place), cells * temperatures**2)
        counts.scatter_add_(1, place, self.decided.float())
        return counts.view(len(place), cells, temperatures, temperatures)


def hidden_best(kinds: int, temperatures: int, generator: torch.Generator) -> Tensor:
    """The grid number of each kind's best temperature, [B], uniform."""
    return torch.randint(temperatures, (kinds,), generator=generator)


def cast(world: World, best: Tensor, count: int, voter: Voter, generator: torch.Generator) -> Votes:
    """`count` votes on each kind, every vote on two new replies at two different temperatures of the grid."""
    first, second, quality, length = gaps(world, best, count, generator)
    vote = voter(quality, length, generator)
    chosen = torch.where(vote > 0, first, second)
    return Votes(chosen, first + second - chosen, vote != 0)


def gaps(world: World, best: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two arms as grid numbers, and by how much the first reply is better and longer than the second; all [B, N]."""
    size, temperatures = (len(best), count), len(world.grid)
    first = torch.randint(temperatures, size, generator=generator)
    second = (first + torch.randint(1, temperatures, size, generator=generator)) % temperatures
    utility, spread, mean_length = world.utility(best), world.spread(), world.length()
    unexplained = (1 - world.length_correlation**2) ** 0.5

    def reply(arm: Tensor) -> tuple[Tensor, Tensor]:
        quality = utility.gather(1, arm) + spread[arm] * torch.randn(size, generator=generator)
        return quality, mean_length[arm] + unexplained * torch.randn(size, generator=generator)

    (quality_a, length_a), (quality_b, length_b) = reply(first), reply(second)
    return first, second, quality_a - quality_b, length_a - length_b


def exact(quality: Tensor, length: Tensor, generator: torch.Generator) -> Tensor:
    """Names the better reply, always; what its vote says of the temperature is still noisy, since replies spread."""
    return quality.sign()


def longer_wins(quality: Tensor, length: Tensor, generator: torch.Generator) -> Tensor:
    """Names the longer reply, whatever it says."""
    return length.sign()


def indifferent(quality: Tensor, length: Tensor, generator: torch.Generator) -> Tensor:
    """Throws a coin: nothing can be learned."""
    return torch.where(torch.rand(quality.shape, generator=generator) < 0.5, 1.0, -1.0)


@dataclass(frozen=True)
class Human:
    """A voter with noise of three kinds.

    tie          replies whose qualities differ by less are called a tie, and the vote trains nothing
    temperature  Bradley–Terry: P(a) = σ(difference / temperature); 0 reports the better reply
    flip         the chance that the finished vote names the other reply (a slip, a wrong click)
    """

    temperature: float = 0.0
    flip: float = 0.0
    tie: float = 0.0

    def __call__(self, quality: Tensor, length: Tensor, generator: torch.Generator) -> Tensor:
        if self.temperature:
            prefers = torch.rand(quality.shape, generator=generator) < torch.sigmoid(quality / self.temperature)
            vote = torch.where(prefers, 1.0, -1.0)
        else:
            vote = quality.sign()
        flipped = torch.rand(quality.shape, generator=generator) < self.flip
        return torch.where(flipped, -vote, vote) * (quality.abs() >= self.tie)


@dataclass(frozen=True)
class Seen:
    """Shares of a voter's battles: `ties`; `share` in which two decided votes agree; `better` of the decided that are right."""

    ties: float
    share: float
    better: float


def agreement(voter: Voter, world: World, generator: torch.Generator, battles: int = 100_000) -> Seen:
    """Two votes of one voter on each of many battles, over all kinds."""
    quality, length = gaps(world, hidden_best(battles, len(world.grid), generator), 1, generator)[2:]
    first, second = (voter(quality, length, generator) for _ in range(2))
    both = (first != 0) & (second != 0)
    shares = (first == 0, (first == second)[both], (first == quality.sign())[first != 0])
    return Seen(*(share.float().mean().item() for share in shares))
