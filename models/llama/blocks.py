"""The quantised blocks of a GGUF file, kept as they are: Q4_0, Q4_1 and Q8_0 (ggml's block formats of 32 weights).

weight = scale · level + offset, a scale and an offset for every 32 weights of a row
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

GROUP = 32
HEADERS = {"Q4_0": 2, "Q4_1": 4, "Q8_0": 2}  # bytes of a block before its levels


@dataclass(frozen=True)
class Blocks:
    """A weight [N, K]: levels [N, K] (uint8 for 4 bits, int8 for 8), scale and offset [N, K / 32] float32."""

    levels: Tensor
    bits: int
    scale: Tensor
    offset: Tensor

    def dense(self) -> Tensor:
        """The weight as float32 [N, K]."""
        weights = self.levels.float().unflatten(-1, (-1, GROUP))
        # changed in place: new memory costs ten times the arithmetic
        return weights.mul_(self.scale[..., None]).add_(self.offset[..., None]).flatten(-2)

    def rows(self, index: Tensor) -> Blocks:
        """The weight with these rows, in this order."""
        return Blocks(self.levels[index], self.bits, self.scale[index], self.offset[index])


def from_bytes(raw: Tensor, kind: str) -> Blocks:
    """Rows of raw bytes [N, bytes] as blocks."""
    header = HEADERS[kind]
    each = raw.unflatten(-1, (-1, header + (GROUP if kind == "Q8_0" else GROUP // 2)))
    halves = each[..., :header].contiguous().view(torch.float16).float()
    scale = halves[..., 0]
    if kind == "Q8_0":
        return Blocks(each[..., 2:].contiguous().view(torch.int8).flatten(-2), 8, scale, torch.zeros_like(scale))
    packed = each[..., header:]  # the low halves of the 16 bytes are the first 16 weights, the high halves the others
    levels = torch.cat([packed & 15, packed >> 4], dim=-1).flatten(-2)
    return Blocks(levels, 4, scale, halves[..., 1] if kind == "Q4_1" else -8 * scale)


def joined(parts: Sequence[Any]) -> Any:
    """Weights of equal K one under the other: dense ones, or blocks of one width."""
    if all(isinstance(part, Blocks) and part.bits == parts[0].bits for part in parts):
        return Blocks(
            torch.cat([part.levels for part in parts]),
            parts[0].bits,
            torch.cat([part.scale for part in parts]),
            torch.cat([part.offset for part in parts]),
        )
    return torch.cat([part.dense() if isinstance(part, Blocks) else part.float() for part in parts])
