"""Whether a network that was just built may be used: it computes what transformers computes with the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from models.errors import ModelError
from models.llama.blocks import Blocks
from models.llama.comparison import TEXT, TOKENS, Comparison, bytes_needed
from models.llama.kernels import Weight
from models.llama.network import Network
from models.machine import free_memory
from models.sources.fit import refuse_not_finite

TABLES = ("model.embed_tokens.weight", "lm_head.weight")  # a few tokens read a few rows; a layer is read whole


def same_as(
    name: str, network: Network, reference: Any, weights: Mapping[str, Weight], precision: str, tokenizer: Any
) -> str:
    """A sentence for the page on how near the network of the model `name` is to transformers' `reference`, or on why it was
    not compared. Raises ModelError for one that differs beyond what its precision explains."""
    _refuse_not_finite(name, weights, TABLES)
    need, free = bytes_needed(weights), free_memory()
    if need > free:
        return f"Not compared with transformers, which takes {need / 1e9:.1f} GB of memory while {free / 1e9:.1f} GB are free."
    ids = _ids(name, tokenizer, network.vocab_size)
    parts = Comparison(network, reference, weights, precision).parts(ids)
    for part in parts:
        if not part.same:
            _refuse_not_finite(name, weights, weights)
            raise ModelError(
                f"{name} does not compute in {precision} what transformers computes with the same weights: {part.name} is "
                f"{_percent(part.difference)} away, where {precision} explains {_percent(part.allowed)}; choose the precision float32."
            )
    most = math.ceil(1e4 * max(part.difference for part in parts)) / 1e4
    return f"Compared with transformers over {len(ids)} tokens when it was loaded: no part is more than {_percent(most)} away."


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _ids(name: str, tokenizer: Any, vocabulary: int) -> list[int]:
    """The tokens of the fixed text. Raises ModelError where the model has none such."""
    ids = list(tokenizer.encode(TEXT, add_special_tokens=False))[:TOKENS]
    if not ids or max(ids) >= vocabulary:
        raise ModelError(
            f"The tokenizer of {name} is not the model's: it makes tokens that the {vocabulary} of its table do not have; use "
            f"the tokenizer files that belong to the weights."
        )
    return ids


def _refuse_not_finite(name: str, weights: Mapping[str, Weight], keys: Iterable[str]) -> None:
    """Raises ModelError for a number that is none among these weights."""
    for key in keys:
        weight = weights.get(key)
        if weight is not None:
            parts = (weight.scale, weight.offset) if isinstance(weight, Blocks) else (weight,)
            refuse_not_finite(name, ((key, part) for part in parts))
