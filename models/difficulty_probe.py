"""The probe of `difficulty-router`: how hard a prompt is for this model (DiffAdapt, Liu et al. 2025, arXiv 2510.19669).

    P(easy, normal, hard | h) = softmax(W2 relu(W1 norm(h) + b1) + b2)

h is the last-layer state at the prompt's last token, before anything is generated. The language model stays frozen.

Departures from the paper: 64 hidden units, for a few hundred prompts; h is standardised per coordinate with the mean and
spread of the training states (`center`, `scale`).

Shapes: N prompts, H hidden size of the language model, D hidden size of the probe.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.standardised import StandardisedHead

CLASSES = 3
HIDDEN = 64


class DifficultyProbe(StandardisedHead):
    """A two-layer perceptron with ReLU from a state to log-probabilities of easy, normal and hard, in this order.

    `width` is D. Dropout acts on the hidden layer, in training only.
    """

    def __init__(self, hidden_size: int, width: int = HIDDEN, dropout: float = 0.0) -> None:
        super().__init__(hidden_size)
        self.width = width
        self.first = nn.Linear(hidden_size, width)
        self.last = nn.Linear(width, CLASSES)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [..., 3] for states [..., H], in the precision of the weights."""
        x = self.standardised(hidden)  # [..., H]
        x = self.dropout(torch.relu(self.first(x)))  # [..., D]
        return torch.log_softmax(self.last(x), dim=-1)  # [..., 3]
