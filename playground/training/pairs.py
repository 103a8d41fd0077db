"""The plain tensors that a head is fitted to: rows of pairs, each with its state, its temperature and its weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from playground.training.lpo import UNSTATED


@dataclass(frozen=True)
class Pairs:
    """N rows of P pairs over S states of size H.

    hidden       [S, H] the states
    index        [N] the temperature drawn, as its place in the grid
    pair         [N] which pair a row belongs to
    sign         [N] +1 for the chosen side, −1 for the rejected one
    prompts      the prompt of each pair
    state        [N] which state a row reads; None: row n reads state n
    likelihood   [N, K] log P(y | τ_k) of a row's token, or of a side's whole reply; for equation 11
    weight       [N] token weights; None: 1
    tokens       [N] how many tokens a row stands for, for length normalisation; None: 1
    strength     [P] UNSTATED, SLIGHT or MUCH; None: unstated
    offset       [P] what equation 9 adds to the margin; None: 0
    family       the family of each pair's prompt; None: nothing is known of any
    target       [P, K] log-probabilities that the head shall give each pair's states (pooling.py); None: the pairs themselves teach
    """

    hidden: Tensor
    index: Tensor
    pair: Tensor
    sign: Tensor
    prompts: tuple[str, ...]
    state: Tensor | None = None
    likelihood: Tensor | None = None
    weight: Tensor | None = None
    tokens: Tensor | None = None
    strength: Tensor | None = None
    offset: Tensor | None = None
    family: tuple[str | None, ...] | None = None
    target: Tensor | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def states(self) -> Tensor:
        """[N] which state each row reads."""
        return torch.arange(len(self.pair)) if self.state is None else self.state

    @property
    def weights(self) -> Tensor:
        return torch.ones(len(self.pair)) if self.weight is None else self.weight

    @property
    def lengths(self) -> Tensor:
        """[N] tokens a row stands for."""
        return torch.ones(len(self.pair)) if self.tokens is None else self.tokens

    @property
    def strengths(self) -> Tensor:
        return torch.full((len(self),), UNSTATED) if self.strength is None else self.strength

    @property
    def families(self) -> tuple[str | None, ...]:
        """[P] the family of each pair's prompt."""
        return (None,) * len(self) if self.family is None else self.family

    @property
    def side(self) -> Tensor:
        """[N] number of the row's side: 2p for what was chosen in pair p, 2p + 1 for what was rejected."""
        return 2 * self.pair + (self.sign < 0).long()

    def subset(self, keep: list[int]) -> Pairs:
        """The pairs with these numbers, renumbered in this order."""
        place = torch.full((len(self),), -1)
        wanted = torch.tensor(keep, dtype=torch.long)
        place[wanted] = torch.arange(len(keep))
        mask = place[self.pair] >= 0
        used, state = (mask, None) if self.state is None else torch.unique(self.state[mask], return_inverse=True)

        def rows(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[mask]

        return Pairs(
            self.hidden[used],
            self.index[mask],
            place[self.pair[mask]],
            self.sign[mask],
            tuple(self.prompts[i] for i in keep),
            state,
            rows(self.likelihood),
            rows(self.weight),
            rows(self.tokens),
            None if self.strength is None else self.strength[wanted],
            None if self.offset is None else self.offset[wanted],
            None if self.family is None else tuple(self.family[i] for i in keep),
            None if self.target is None else self.target[wanted],
        )
