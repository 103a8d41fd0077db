"""Whether a configuration asks for a far larger model than the files hold: the rest would be made up, in all of the memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.errors import ModelError
from models.sources.fit import shape_of

MUCH = 2  # a single map that is so many times as large as everything in the files is not theirs
WIDTHS = ("vocab_size", "intermediate_size", "head_dim")


def refuse_oversized(name: str, config: Any, tensors: Mapping[str, Any]) -> None:
    """Raises ModelError, before anything is made, where layers or maps cannot be among these tensors.

    Nothing is refused where no tensors are known, as of weights in another format.
    """
    if not tensors:
        return
    text, held = config.get_text_config(), sum(map(_count, tensors.values()))
    layers = getattr(text, "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(tensors):
        raise _refusal(name, f"num_hidden_layers {layers:.4g}", f"{len(tensors)} tensors")
    hidden = getattr(text, "hidden_size", None)
    for key in WIDTHS:
        width = getattr(text, key, None)
        if isinstance(width, int) and isinstance(hidden, int) and width * hidden > MUCH * held:
            raise _refusal(name, f"{key} {width:.4g} and hidden_size {hidden:.4g}", f"{held:,} numbers")


def _refusal(name: str, asked: str, held: str) -> ModelError:
    return ModelError(
        f"The configuration of {name} asks for {asked}, but its files hold {held} in all; use the configuration that belongs "
        f"to the weights."
    )


def _count(tensor: Any) -> int:
    count = 1
    for side in shape_of(tensor):
        count *= side
    return count
