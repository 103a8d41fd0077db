"""AutoDeco: two small heads that predict temperature and top-p for every token (Wang et al. 2025, arXiv 2510.26697).

    T = 2 sigmoid(f(h))                    f, g: two layers, SiLU                                      (equation 4)
    P = sigmoid(g(h, T))                   the top-p head also reads the predicted temperature
    p = softmax(logits / T)                                                                            (equation 1)
    m = exp(−alpha · relu(c − P))          c: cumulative p, most probable token first; alpha 30        (equation 2)
    q = p m / sum(p m)                     trained with −ln q(reference token)                         (equation 3)

h is the last-layer state that feeds the unembedding, so the heads cost no pass of their own. The soft mask m serves
training; decoding keeps the smallest set of tokens whose p sums to P. The language model stays frozen.

Departures from the paper
1. 128 hidden units; h is standardised per coordinate with the mean and spread of the training states (`center`, `scale`).
2. The last layers start at zero weights, so that T = 1 and P = .982; training moves that start to the best constants of
   its tokens (`start_at`), and what is learned is where to leave them.
3. The loss is weighted equally over all tokens of human reference text. The paper trains on the model's own accepted
   samples, drops part of the tokens that greedy decoding gets right and weights the rest by the model's probability
   (dynamic fine-tuning). On samples drawn at a temperature T0, plain cross-entropy is least at T = T0, and with the model's
   probability at T = 1 as weight at T0 / (1 + T0), whatever the state: a constant, so neither is used here.
4. Decoding evaluates the heads in float64.

Shapes: N tokens, H hidden size of the language model, D hidden size of the heads, S places in rank order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.standardised import StandardisedHead

HIDDEN = 128
ALPHA = 30.0
OPEN = 4.0  # the top-p head starts at sigmoid(OPEN)
MOST = 0.999


class AutoDeco(StandardisedHead):
    """Both heads. `width` is D. Dropout acts on the hidden layers, in training only."""

    def __init__(self, hidden_size: int, width: int = HIDDEN, dropout: float = 0.0) -> None:
        super().__init__(hidden_size)
        self.width = width
        self.temperature_first = nn.Linear(hidden_size, width)
        self.temperature_last = nn.Linear(width, 1)
        self.top_p_first = nn.Linear(hidden_size + 1, width)
        self.top_p_last = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        for last, start in ((self.temperature_last, 0.0), (self.top_p_last, OPEN)):
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, start)

    def forward(self, hidden: Tensor) -> Tensor:
        """Temperature in (0, 2) and top-p in (0, 1), [N, 2], for states [N, H], in the precision of the weights."""
        x = self.standardised(hidden)  # [N, H]
        inner = self.dropout(nn.functional.silu(self.temperature_first(x)))  # [N, D]
        temperature = 2 * torch.sigmoid(self.temperature_last(inner))  # [N, 1]
        inner = self.dropout(nn.functional.silu(self.top_p_first(torch.cat([x, temperature], -1))))  # [N, D]
        return torch.cat([temperature, torch.sigmoid(self.top_p_last(inner))], -1)

    @torch.no_grad()
    def start_at(self, temperature: float, top_p: float) -> None:
        """Makes untrained heads predict these constants, top-p at most .999 so that it can still move."""
        self.temperature_last.bias.fill_(math.log(temperature / (2 - temperature)))
        mass = min(top_p, MOST)
        self.top_p_last.bias.fill_(math.log(mass / (1 - mass)))


def soft_top_p_mask(cumulative: Tensor, top_p: Tensor, alpha: float = ALPHA) -> Tensor:
    """Equation 2: 1 inside the nucleus, falling off outside it; [N, S] for cumulative mass [N, S] and top-p [N]."""
    return torch.exp(-alpha * torch.relu(cumulative - top_p[:, None]))
