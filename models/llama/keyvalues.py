"""The keys and values of some rows that have read equally many tokens, and of rows that have not.

A step of many rows is a list of these: each is attended to by its own rows alone, so nobody pads for anybody, and a
row's figures cannot depend on who else is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROOM = 64  # positions that a cache grows by at least


class KeyValues:
    """Keys (0) and values (1) [layers, 2, B, heads, capacity, D] float32; `length` positions are filled."""

    def __init__(self, values: Tensor, length: int) -> None:
        self.values, self.length = values, length

    @classmethod
    def empty(cls, layers: int, heads: int, size: int, capacity: int) -> KeyValues:
        """One row with nothing in it yet."""
        return cls(torch.empty(layers, 2, 1, heads, capacity, size), 0)

    @property
    def rows(self) -> int:
        return self.values.shape[2]

    @property
    def capacity(self) -> int:
        return self.values.shape[4]

    def reserve(self, count: int) -> None:
        """Make room for `count` more positions."""
        if self.length + count > self.capacity:
            self.values = _copy(self.values, self.length, self.length + max(count, self.length // 2, ROOM))

    def head(self, length: int, capacity: int) -> KeyValues:
        """A copy of the first row's first `length` positions, with room for `capacity`."""
        return KeyValues(_copy(self.values[:, :, :1], length, capacity), length)

    def fork(self) -> KeyValues:
        """A copy that goes its own way."""
        return KeyValues(_copy(self.values, self.length, self.length + ROOM), self.length)

    def expand(self, rows: int) -> KeyValues:
        """The one row repeated; in place."""
        return self.select([0] * rows)

    def select(self, rows: Sequence[int]) -> KeyValues:
        """These rows in this order, repeats allowed; in place."""
        self.values = _copy(self.values[:, :, list(rows), :, : self.length], self.length, self.capacity)
        return self


def _copy(values: Tensor, length: int, capacity: int) -> Tensor:
    """The first `length` positions, with room for `capacity`."""
    copy = values.new_empty(*values.shape[:4], capacity, values.shape[5])
    copy[..., :length, :] = values[..., :length, :]
    return copy


class Ragged:
    """Several caches that step together as the rows of one, in this order."""

    def __init__(self, parts: Sequence[KeyValues]) -> None:
        self.parts = tuple(parts)


def parts_of(cache: KeyValues | Ragged) -> tuple[KeyValues, ...]:
    return cache.parts if isinstance(cache, Ragged) else (cache,)
