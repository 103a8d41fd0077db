"""Small networks whose figures for a row do not depend on the rows beside it, to the last bit.

A matrix product rounds a row differently by how many rows it is multiplied with. One product a row, all in one call
(`bmm`), does not; decoding evaluates every learned predictor so. Shapes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

BLOCK = 256
M = TypeVar("M", bound=nn.Module)


class RowLinear(nn.Module):
    """A linear layer of [N, I] with the weights of another: one product and one sum a row, in one operation."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().T.contiguous()[None])  # [1, I, O]
        self.register_buffer("bias", layer.bias.detach()[None, None])  # [1, 1, O]

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = torch.baddbmm(self.bias, x[:, None], self.weight.expand(len(x), -1, -1))
        return rows[:, 0]


def row_by_row(module: M, dtype: torch.dtype = torch.float64) -> M:
    """The module for decoding, in place: every linear layer row by row, in this precision, no gradients."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, RowLinear(child))
    return module.to(dtype).eval().requires_grad_(False)


def row_length(x: Tensor) -> Tensor:
    """The Euclidean length [N, 1] of x [N, I] in float64; a plain sum splits a single long row among threads."""
    whole = x.shape[-1] // BLOCK * BLOCK
    squares = x * x
    blocks = squares[:, :whole].reshape(len(x), -1, BLOCK).sum(-1).double().sum(-1, keepdim=True)
    return (blocks + squares[:, whole:].double().sum(-1, keepdim=True)).sqrt()
