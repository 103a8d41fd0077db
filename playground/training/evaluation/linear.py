"""The linear head: log-probabilities that are linear in the standardised state, fitted to the same votes as the real one.

    P(τ_k | h) = softmax(W (h − mean) / spread + b)_k

The losses, pull to uniform, pooling, weight decay, early stopping and held-out prompts of the head's recipe; one step of
AdamW an epoch over all pairs, since there is so little to compute. An opponent: what the hidden layers are worth.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.standardised import StandardisedHead
from playground.training.best import Best
from playground.training.fit import Recipe, split_by_prompt
from playground.training.learner import Learner
from playground.training.pairs import Pairs
from playground.training.pooling import taught

EPOCHS = 400
LEARNING_RATE = 3e-3
PATIENCE = 40


class LinearHead(StandardisedHead):
    """States [N, H] → log-probabilities [N, K]; uniform at the start."""

    def __init__(self, hidden_size: int, temperatures: int) -> None:
        super().__init__(hidden_size)
        self.last = nn.Linear(hidden_size, temperatures)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.log_softmax(self.last(self.standardised(hidden)), dim=-1)


def fit_linear(pairs: Pairs, temperatures: int, recipe: Recipe) -> LinearHead:
    """The head of the epoch with the lowest loss on the pairs of held-out prompts; deterministic by the recipe's seed."""
    train_numbers, held_numbers = split_by_prompt(pairs, recipe.held_out, recipe.seed)
    training, held = taught(pairs.subset(train_numbers), pairs.subset(held_numbers), temperatures, recipe)
    head = LinearHead(pairs.hidden.shape[1], temperatures)
    head.standardise(training.hidden[training.states])
    learner = Learner(head)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=LEARNING_RATE, weight_decay=recipe.weight_decay)
    best = Best(head, epoch=-1)
    for epoch in range(EPOCHS):
        optimizer.zero_grad()
        learner.losses(training, recipe)[1].mean().backward()
        optimizer.step()
        with torch.no_grad():
            if best.waited(epoch, float(learner.losses(held, recipe)[0].mean())) >= PATIENCE:
                break
    best.restore()
    return head.eval()
