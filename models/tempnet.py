"""TempNet: a network that reads the next token's logits and predicts a temperature (Qiu et al., ICML 2024, arXiv 2404.04575).

    x = (h − max h) / ‖h − max h‖₂                        h the logits [V]; no gradient flows into them
    a = sigmoid(W1 x + b1)                                V → D = 256
    z = W2 a + b2,  w = softmax(z / exp(s))               D → D, s learned
    o = v · ((w − 1/D) ∘ z) + c
    tau = low + (high − low) · sigmoid(o)

Two forms of the first layer, the same function:

    full      W1 [D, V] on x
    folded    [W1 W_U | W1 1] [D, H + 1] on (s, −max h) / ‖h − max h‖₂, where h = W_U s

Folding is exact, since W1 (W_U s − max h · 1) = (W1 W_U) s − max h · (W1 1): 0.15 instead of 12.6 million weights for the
embedded model. Its image is no smaller than the full form's: W1 W_U can be any D × H matrix and W1 1 any vector, unless 1
lies in the column space of W_U. It needs logits that are linear in the state: not soft-capped, without a bias.

Departure: decoding evaluates the network in float64, row by row; the release in half precision. How it is trained, and
where that departs from the paper: playground/training/predictors/tempnet.py.

Shapes: N tokens, V vocabulary, H hidden size of the language model, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.rowwise import row_length

WIDTH = 256
LOW, HIGH = 0.01, 2.0  # the bounds while training
RULED_OUT = 3500.0  # nats below the largest logit: no token there is ever drawn


class TempNet(nn.Module):
    """`size` is V for the full form, H for the folded one. Dropout acts on a, in training only."""

    def __init__(
        self, size: int, full: bool, low: float = LOW, high: float = HIGH, width: int = WIDTH, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.full, self.low, self.high, self.width = full, low, high, width
        self.first = nn.Linear(size if full else size + 1, width)
        self.second = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.last = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        nn.init.ones_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """Temperatures [N] in (low, high) for logits [N, V] and the states [N, H] they came from."""
        return self.temperature(self.first(self.inputs(logits, hidden).to(self.first.weight.dtype)))

    def inputs(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """What the first layer reads: [N, V] in the full form, [N, H + 1] in the folded one."""
        top = logits.amax(-1, keepdim=True)  # [N, 1]
        lowered = logits - top  # [N, V]
        gone = lowered <= -RULED_OUT  # tokens that the model rules out are left out, however they are marked
        lowered = lowered.masked_fill(gone, 0.0)
        length = row_length(lowered).to(lowered.dtype)  # [N, 1]
        length = length.masked_fill(gone.any(-1, keepdim=True) & (length == 0), torch.inf)  # one token is left
        return lowered / length.clamp_min(tiny(length)) if self.full else folded_inputs(hidden, top, length)

    def temperature(self, first: Tensor) -> Tensor:
        """The rest of the network, from the first layer's output [N, D] on."""
        z = self.second(self.dropout(torch.sigmoid(first)))  # [N, D]
        weights = torch.softmax(z / self.log_scale.exp(), dim=-1)
        out = self.last((weights - 1 / self.width) * z)[..., 0]  # [N]
        return self.low + (self.high - self.low) * torch.sigmoid(out)

    @torch.no_grad()
    def folded(self, unembedding: Tensor) -> TempNet:
        """The same function in the folded form, for logits that are `unembedding` [V, H] times the state; in float64."""
        assert self.full
        short = TempNet(unembedding.shape[1], False, self.low, self.high, self.width, self.dropout.p).double()
        short.load_state_dict(self.state_dict() | {"first.weight": short.first.weight})
        weight = self.first.weight.double()
        short.first.weight.copy_(torch.cat([weight @ unembedding.double(), weight.sum(-1, keepdim=True)], -1))
        return short.train(self.training)


def folded_inputs(hidden: Tensor, top: Tensor, length: Tensor) -> Tensor:
    """(s, −max h) / ‖h − max h‖₂ [N, H + 1] for states [N, H], max h [N, 1] and ‖h − max h‖₂ [N, 1]."""
    return torch.cat([hidden.to(top.dtype), -top], -1) / length.clamp_min(tiny(length))


def tiny(x: Tensor) -> float:
    """The smallest positive normal number of x's precision: what equal logits are divided by."""
    return torch.finfo(x.dtype).tiny
