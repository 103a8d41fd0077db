"""The linear head: log-probabilities that are linear in the standardised state, fitted to the same votes as the real one.

    P(τ_k | h) = softmax(W (h − mean) / spread + b)_k

The same loss (equation 10), pull to uniform, weight decay, early stopping and held-out prompts as the head's recipe; one
step of AdamW an epoch over all pairs, since there is so little to compute. An opponent: what the hidden layers are worth.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.standardised import StandardisedHead
from playground.training.best import Best
from playground.training.fit import Recipe, split_by_prompt
from playground.training.lpo import margins, pull_to_uniform, separate_loss, step_scores
from playground.training.pairs import Pairs

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
    training, held = (pairs.subset(numbers) for numbers in split_by_prompt(pairs, recipe.held_out, recipe.seed))
    head = LinearHead(pairs.hidden.shape[1], temperatures)
    head.standardise(training.hidden)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=recipe.weight_decay)
    best = Best(head, epoch=-1)
    for epoch in range(EPOCHS):
        loss = _loss(head, training, recipe)
        optimizer.zero_grad()
        (loss + recipe.pull * pull_to_uniform(head(training.hidden))).backward()
        optimizer.step()
        with torch.no_grad():
            if best.waited(epoch, float(_loss(head, held, recipe))) >= PATIENCE:
                break
    best.restore()
    return head.eval()


def _loss(head: LinearHead, pairs: Pairs, recipe: Recipe) -> Tensor:
    logprobs = head(pairs.hidden)[pairs.states]  # [N, K], one row a side
    return separate_loss(margins(step_scores(logprobs, pairs.index), pairs.pair, pairs.sign, len(pairs)), recipe.beta)
