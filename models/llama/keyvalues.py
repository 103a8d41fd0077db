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
    """Keys and values [layers, B, 2·heads, capacity, D] float32, keys first; `length` positions are filled."""

    def __init__(self, values: Tensor, length: int) -> None:
        self.length = length
        self._hold(values)

    def _hold(self, values: Tensor) -> None:
        self.values = values
        self.layers = values.unbind(0)

    @classmethod
    def empty(cls, layers: int, heads: int, size: int, capacity: int) -> KeyValues:
        """One row with nothing in it yet."""
        return cls(torch.empty(layers, 1, 2 * heads, capacity, size), 0)

    @property
    def rows(self) -> int:
        return self.values.shape[1]

    @property
    def capacity(self) -> int:
        return self.values.shape[3]

    def reserve(self, count: int) -> None:
        """Make room for `count` more positions."""
        if self.length + count > self.capacity:
            self._hold(self._copy(slice(None), self.length + max(count, self.length // 2, ROOM)))

    def head(self, length: int, capacity: int) -> KeyValues:
        """A copy of the first row's first `length` positions, with room for `capacity`."""
        kept = self.values[:, :1, :, :length]
        copy = kept.new_empty(*kept.shape[:3], capacity, kept.shape[4])
        copy[..., :length, :] = kept
        return KeyValues(copy, length)

    def fork(self) -> KeyValues:
        """A copy that goes its own way."""
        return KeyValues(self._copy(slice(None), self.length + ROOM), self.length)

    def expand(self, rows: int) -> KeyValues:
        """The one row repeated; in place."""
        self.select([0] * rows)
        return self

    def select(self, rows: Sequence[int]) -> KeyValues:
        """These rows in this order, repeats allowed; in place."""
        self._hold(self._copy(list(rows), self.capacity))
        return self

    def _copy(self, rows: slice | list[int], capacity: int) -> Tensor:
        kept = self.values[:, rows, :, : self.length]
        copy = kept.new_empty(*kept.shape[:3], capacity, kept.shape[4])
        copy[..., : self.length, :] = kept
        return copy


class Ragged:
    """Several caches that step together as the rows of one, in this order."""

    def __init__(self, parts: Sequence[KeyValues]) -> None:
        self.parts = tuple(parts)


def parts_of(cache: KeyValues | Ragged) -> tuple[KeyValues, ...]:
    return cache.parts if isinstance(cache, Ragged) else (cache,)
