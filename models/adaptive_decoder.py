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
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from models.errors import ModelError
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
    """An AdaptiveDecoder made ready for decoding: compiled, row by row, no gradients, refusing what is not a number.

    A policy calls it; it knows nothing of policies. `name` appears in the refusals.
    """

    def __init__(self, decoder: AdaptiveDecoder, name: str = "untrained") -> None:
        self.decoder = decoder.float().eval().requires_grad_(False)
        self.hidden_size, self.name = decoder.hidden_size, name
        layers = (decoder.first, decoder.second, decoder.last)
        weights = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
        self._weights = [tensor.contiguous().numpy() for tensor in (decoder.center, decoder.scale, *weights)]

    def __call__(self, hidden: Tensor) -> Tensor:
        """Log-probabilities [B, K] in float64, on the CPU, for hidden states [B, H] on any device.

        Raises ModelError where a state or a result is NaN or infinite, or the states have another size.
        """
        if hidden.shape[-1] != self.hidden_size:
            raise ModelError(
                f"Checkpoint {self.name!r} reads hidden states of size {self.hidden_size}, "
                f"but the loaded model gives {hidden.shape[-1]}; choose a checkpoint listed for this model."
            )
        states = hidden.detach().cpu().float().contiguous()
        found = _log_probs(states.numpy(), *self._weights)
        if not np.isfinite(found).all():
            if not torch.isfinite(states).all():
                raise ModelError(
                    "The model's hidden state holds NaN or infinity, so no temperature can be predicted; use a fixed "
                    "temperature."
                )
            raise ModelError(
                f"Checkpoint {self.name!r} predicted NaN for the temperature; choose another checkpoint or train it again."
            )
        return torch.from_numpy(found)


FLAGS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
compiled: Any = njit(cache=True, **FLAGS)
inlined: Any = njit(**FLAGS)  # cached as a part of its callers


@compiled
def _log_probs(hidden, center, scale, w1, b1, w2, b2, w3, b3):  # type: ignore[no-untyped-def]
    """`AdaptiveDecoder.forward` in float32 with its softmax in float64; a row's bits do not depend on the others'."""
    x = _silu(_linear((hidden - center) / scale, w1, b1))
    scores = _linear(_silu(_linear(x, w2, b2)), w3, b3)
    found = np.empty(scores.shape)
    for b in range(scores.shape[0]):
        top, total = scores[b].max(), 0.0
        for k in range(scores.shape[1]):
            total += math.exp(np.float64(scores[b, k] - top))
        for k in range(scores.shape[1]):
            found[b, k] = np.float64(scores[b, k]) - top - math.log(total)
    return found


@inlined
def _linear(x, weight, bias):  # type: ignore[no-untyped-def]
    """x [B, I], weight [O, I] → [B, O]; the weights are read once for all rows."""
    found = np.empty((x.shape[0], weight.shape[0]), np.float32)
    for o in range(weight.shape[0]):
        for b in range(x.shape[0]):
            total = np.float32(0)
            for i in range(x.shape[1]):
                total += x[b, i] * weight[o, i]
            found[b, o] = total + bias[o]
    return found


@inlined
def _silu(x):  # type: ignore[no-untyped-def]
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[b, i] = x[b, i] / (np.float32(1) + np.exp(-x[b, i]))
    return x


def uniform_head(hidden_size: int, temperatures: int) -> Head:
    """The untrained head: the same probability for every temperature. It makes the first candidates of a training run."""
    return Head(AdaptiveDecoder(hidden_size, temperatures))
