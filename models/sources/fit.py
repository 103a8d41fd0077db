"""Whether a model's tensors are those that its configuration asks for: none missing, none over, each of its shape.

What transformers fills with random numbers or leaves out with a warning is another model than the file's, so it is
refused here by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from models.errors import ModelError

# buffers that older files carry beside their weights and that are made anew: rotary frequencies, causal masks, positions
HARMLESS = re.compile(
    r"(rotary_emb\.(inv_freq|cos_cached|sin_cached)|(attn|attention)\.masked_bias|position_ids|num_batches_tracked)$"
)
MASK = re.compile(r"(attn|attention)\.bias$")  # where it is square, [1, 1, T, T]
SCALES = re.compile(
    r"(scales?|scale_inv|_scale|scb|absmax|qweight|qzeros|weight_packed|g_idx|quant_map|quant_state\S*|zero_point|qdata)$",
    re.IGNORECASE,
)
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
COUNTED = (torch.int64, torch.bool)  # positions and masks; a weight is never kept so


def fitted(name: str, tensors: Mapping[str, Any], expected: Mapping[str, Any], tied: bool) -> dict[str, Any]:
    """The tensors of the model `name` as its module names them: `expected` gives every name with a tensor of its shape.

    As in transformers, the names may lack the prefix `model.` or have it once more, and of a table that is `tied` to the
    unembedding one of the two is enough; where both are there and differ, both stay. Raises ModelError.
    """
    named = {}
    for key, tensor in tensors.items():
        others = (f"model.{key}", key.removeprefix("model."))
        meant = next(
            (other for other in others if other in expected and other not in tensors and other not in named), key
        )
        named[key if key in expected else meant] = tensor
    table, head = "model.embed_tokens.weight", "lm_head.weight"
    if tied and head in named and table not in named:
        named[table] = named.pop(head)
    elif tied and head in named and _equal(named[table], named[head]):
        del named[head]
    missing = expected.keys() - named.keys() - ({head} if tied else set())
    over = [key for key in named if key not in expected]
    shapes = {key: (shape_of(named[key]), tuple(expected[key].shape)) for key in expected.keys() & named.keys()}
    refuse_unfit(name, missing, [key for key in over if not harmless(key, shape_of(named[key]))], shapes)
    return {key: tensor for key, tensor in named.items() if key in expected}


def refuse_unfit(
    name: str, missing: Collection[str], over: Collection[str], shapes: Mapping[str, tuple[Any, Any]]
) -> None:
    """Raises ModelError where anything is missing or over, or where a tensor's two shapes, its own and the one that it
    should have, differ."""
    if missing:
        raise ModelError(
            f"{name} lacks the tensor {_named(missing)}, which its configuration asks for; fetch or save the whole model "
            f"again."
        )
    scales = [key for key in over if SCALES.search(key)]
    if scales:
        raise ModelError(
            f"The weights of {name} are quantised, as the tensor {_named(scales)} shows, but its configuration does not say "
            f"how; use the folder with its whole config.json, or the model before it was quantised."
        )
    if over:
        raise ModelError(
            f"{name} holds the tensor {_named(over)}, for which its configuration has no place, so what it computes would "
            f"not be what was meant; use the configuration that belongs to the weights."
        )
    for key in sorted(shapes):
        own, asked = (tuple(map(int, shape)) for shape in shapes[key])
        if own != asked:
            raise ModelError(
                f"The tensor {key} of {name} has the shape {list(own)}, but its configuration asks for {list(asked)}; use the "
                f"configuration that belongs to the weights."
            )


def refuse_unscaled(name: str, tensors: Mapping[str, Tensor], quantised: bool) -> None:
    """Raises ModelError for numbers of one byte or packed ones that nothing scales: in a model that is not `quantised`, or
    where no tensor of the same module beside weight and bias could do it."""
    scaled = {key.rpartition(".")[0] for key in tensors if not key.endswith((".weight", ".bias"))}
    for key, tensor in tensors.items():
        if tensor.dtype in (*FLOATS, *COUNTED) or harmless(key, tuple(tensor.shape)):
            continue
        kind = str(tensor.dtype).removeprefix("torch.")
        if not quantised:
            raise ModelError(
                f"The tensor {key} of {name} is kept as {kind}, but its configuration has no quantization_config that says "
                f"what scales it; use the folder with its whole config.json, or the model before it was quantised."
            )
        if key.endswith("weight") and key.rpartition(".")[0] not in scaled:
            raise ModelError(
                f"The tensor {key} of {name} is kept as {kind}, and no tensor beside it scales it; fetch or save the whole "
                f"model again."
            )


def refuse_not_finite(name: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raises ModelError for a tensor that holds an infinity or no number."""
    for key, tensor in tensors:
        if tensor.dtype in FLOATS and not torch.isfinite(tensor.sum(dtype=torch.float32)):
            if torch.isfinite(tensor).all():
                continue  # only the sum is too large
            raise ModelError(
                f"The tensor {key} of {name} holds values that are no finite numbers; fetch or save the model again."
            )


def harmless(key: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor without a place in the model changes nothing."""
    square = len(shape) >= 3 and shape[-1] == shape[-2] and shape[0] == 1
    return HARMLESS.search(key) is not None or (MASK.search(key) is not None and square)


def shape_of(weight: Any) -> tuple[int, ...]:
    """The shape of a dense weight or of blocks."""
    return tuple(getattr(weight, "levels", weight).shape)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other.to(one.dtype))
    return False


def _named(keys: Collection[str]) -> str:
    first, *rest = sorted(keys)
    return f"{first} (and {len(rest)} more)" if rest else first
