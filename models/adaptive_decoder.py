"""AdaptiveDecoder: a small head that chooses the temperature (Dhuliawala et al. 2024, arXiv 2411.09661).

    P(tau_k | h_t) = softmax(MLP(h_t))_k                                    k = 1 … K, the temperatures of a grid
    MLP(h) = W3 silu(W2 silu(W1 norm(h) + b1) + b2) + b3

h_t is the last-layer state that feeds the unembedding, so the head costs no pass of its own. At token level
(AdaptiveDecoder_tok) it is read before every token; at sequence level (AdaptiveDecoder_seq) once, at the last token of
the prompt, and the temperature holds for the whole reply. The language model stays frozen.

Departures from the paper
1. The hidden layers have 256 units, not 2048: the paper's model has 8 billion parameters, ours 135 million.
2. h is standardised per coordinate with the mean and spread of the training states, stored as buffers (`center`,
   `scale`); a state has a few coordinates some hundred times larger than the rest, and the first layer would see little else.
3. The last layer starts at zero, so that the first distribution is exactly uniform; the paper says "roughly".
4. Decoding evaluates the head row by row: a lane's figures then do not depend on how many lanes run beside it.

Shapes: B rows, H hidden size of the language model, D hidden size of the head, K temperatures.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.rowwise import row_by_row
from models.standardised import StandardisedHead

HIDDEN = 256


class AdaptiveDecoder(StandardisedHead):
    """A three-layer perceptron with SiLU from a hidden state to log-probabilities over `grid`.

    `width` is D. Dropout acts on the two hidden layers, in training only.
    """

    def __init__(self, hidden_size: int, temperatures: int, width: int = HIDDEN, dropout: float = 0.0) -> None:
        super().__init__(hidden_size)
        self.hidden_size, self.temperatures, self.width = hidden_size, temperatures, width
        self.first = nn.Linear(hidden_size, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, temperatures)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [..., K] for last-layer states [..., H], in the precision of the weights."""
        return torch.log_softmax(self.scores(hidden), dim=-1)

    def scores(self, hidden: Tensor) -> Tensor:
        """What the log-probabilities are the softmax of, [..., K]."""
        x = self.standardised(hidden)  # [..., H]
        x = self.dropout(nn.functional.silu(self.first(x)))  # [..., D]
        x = self.dropout(nn.functional.silu(self.second(x)))  # [..., D]
        scores: Tensor = self.last(x)  # [..., K]
        return scores


class Head:
    """An AdaptiveDecoder made ready for decoding, in place: row by row, no gradients, refusing what is not a number.

    A policy calls it; it knows nothing of policies. `name` appears in the refusals.
    """

    def __init__(self, decoder: AdaptiveDecoder, name: str = "untrained") -> None:
        self.decoder = row_by_row(decoder, torch.float32)
        self.hidden_size = decoder.hidden_size
        self.name = name

    @torch.no_grad()
    def __call__(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [B, K] in float64, on the CPU, for hidden states [B, H] on any device.

        Raises ModelError where a state or a result is NaN or infinite, or the states have another size.
        """
        if hidden.shape[-1] != self.hidden_size:
            raise ModelError(
                f"Checkpoint {self.name!r} reads hidden states of size {self.hidden_size}, "
                f"but the loaded model gives {hidden.shape[-1]}; choose a checkpoint listed for this model."
            )
        logprobs = torch.log_softmax(self.decoder.scores(hidden.cpu()), dim=-1, dtype=torch.float64)  # [B, K]
        if not math.isfinite(float(logprobs.sum())):
            if not torch.isfinite(hidden).all():
                raise ModelError(
                    "The model's hidden state holds NaN or infinity, so no temperature can be predicted; use a fixed "
                    "temperature."
                )
            raise ModelError(
                f"Checkpoint {self.name!r} predicted NaN for the temperature; choose another checkpoint or train it again."
            )
        return logprobs


def uniform_head(hidden_size: int, temperatures: int) -> Head:
    """The untrained head: the same probability for every temperature. It makes the first candidates of a training run."""
    return Head(AdaptiveDecoder(hidden_size, temperatures))
