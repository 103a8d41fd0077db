"""What transformers keeps of what a model's rows have read, whatever kind of cache the family has.

Shapes: B rows, T time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, LinearAttentionCacheLayerMixin

NONE = torch.empty(1, 0, dtype=torch.long)
WINDOWS = ("sliding_window", "attention_chunk_size", "layer_types")  # what transformers' cache makes windows of


def empty(config: Any) -> DynamicCache:
    """A cache of a model that has read nothing.

    A window that a configuration names but its family does not know acts in transformers' cache alone, which would forget
    what the model's attention still looks at: such a one is left out.
    """
    named = [name for name in WINDOWS if getattr(config, name, None) is not None and not hasattr(type(config), name)]
    if unknown := [name for name in named if not hasattr(type(config)(), name)]:
        config = copy.copy(config)
        for name in unknown:
            setattr(config, name, None)
    return DynamicCache(config=config)


@dataclass
class Kept:
    """What B rows have read.

    ids       their tokens [B, T], places of padding included
    state     what the model keeps of them: a transformers cache, tensors with a row first, or None where it keeps nothing
    padding   [B] places at the left that stand for no token; None where no row has any
    """

    ids: Tensor = field(default_factory=NONE.clone)
    state: Any = None
    padding: Tensor | None = None

    @property
    def rows(self) -> int:
        return self.ids.shape[0]

    def select(self, rows: Sequence[int]) -> Kept:
        """These rows in this order, repeats allowed; in place."""
        order = torch.tensor(list(rows))
        self.ids = self.ids[order]
        self.state = _selected(self.state, order)
        self.padding = None if self.padding is None else self.padding[order]
        return self

    def expand(self, rows: int) -> Kept:
        """The one row `rows` times, in place."""
        return self.select([0] * rows)

    def fork(self) -> Kept:
        """A copy; the two then grow apart."""
        return copy.deepcopy(self)


def _selected(state: Any, order: Tensor) -> Any:
    if state is None:
        return None
    if not isinstance(state, Cache):
        return [part.index_select(0, order.to(part.device)) for part in state]
    if type(state).batch_select_indices is not Cache.batch_select_indices:  # knows of more than its layers
        state.batch_select_indices(order)
    else:
        for layer in state.layers:
            _reorder(layer, order)
    return state


def _reorder(layer: Any, order: Tensor) -> None:
    """`layer` with these rows. Every kind of layer reorders its rows for beam search, and some do nothing else."""
    if getattr(layer, "device", None) is None and hasattr(layer, "recurrent_states"):
        states = [state for state in layer.recurrent_states.values() if state is not None]
        layer.device = states[0].device if states else None
    layer.reorder_cache(order)


@dataclass
class Apart:
    """Rows that are fed one cache after the other, since one pass over all of them would be another model's, or would
    give a row other bits than it has alone: counts[i] rows of parts[i], which may hold more, as filling.
    """

    parts: list[Kept]
    counts: list[int]

    def select(self, rows: Sequence[int]) -> Apart:
        """These rows in this order, repeats allowed, each by itself."""
        owners = [(part, row) for part, count in zip(self.parts, self.counts, strict=True) for row in range(count)]
        chosen = [owners[row] for row in rows]
        return Apart([part.fork().select([row] * part.rows) for part, row in chosen], [1] * len(chosen))

    def fork(self) -> Apart:
        return copy.deepcopy(self)


def padded(caches: Sequence[Kept], counts: Sequence[int], config: Any) -> Kept:
    """One cache of sum(counts) rows out of one-row caches of plain layers: the shorter prompts are padded on the left."""
    lengths = [cache.ids.shape[1] for cache in caches]
    joined, longest = empty(config), max(lengths)
    for index, layers in enumerate(zip(*(cache.state.layers for cache in caches), strict=True)):
        joined.update(
            torch.cat([_repeated(layer.keys, longest, n) for layer, n in zip(layers, counts, strict=True)]),
            torch.cat([_repeated(layer.values, longest, n) for layer, n in zip(layers, counts, strict=True)]),
            index,
        )
    ids = [
        pad(cache.ids, (longest - length, 0)).expand(n, -1)
        for cache, length, n in zip(caches, lengths, counts, strict=True)
    ]
    padding = [longest - length for length, n in zip(lengths, counts, strict=True) for _ in range(n)]
    return Kept(torch.cat(ids), joined, torch.tensor(padding))


def _repeated(values: Tensor, length: int, rows: int) -> Tensor:
    """[1, heads, T, D] → [rows, heads, length, D], zeros on the left."""
    return pad(values, (0, 0, length - values.shape[-2], 0)).expand(rows, -1, -1, -1)


def size_of(state: Any) -> int:
    """Bytes of the tensors of a state, wherever in it they are."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict | list | tuple):
        return sum(map(size_of, state.values() if isinstance(state, dict) else state))
    return size_of(vars(state)) if isinstance(state, Cache | CacheLayerMixin | LinearAttentionCacheLayerMixin) else 0
