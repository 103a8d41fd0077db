"""Weight-only linear maps of a CPU, by precision: the weights are stored small, the activations never quantised.

    float16    half-precision weights, float32 arithmetic (FBGEMM)
    bfloat16   bfloat16 weights and activations, float32 accumulation (oneDNN)
    int8       8-bit weights with one scale an output, bfloat16 activations
    gguf       the 4-bit and 8-bit blocks of a GGUF file as they are, bfloat16 activations

A kernel maps x [M, K] float32 to [M, N] float32 or bfloat16. Whether a row's bits depend on the rows beside it is a
property of the library and the machine: `same_bits` looks. The int8 and gguf kernels are private operators of PyTorch;
`available` says what this build and this processor have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from models.llama.blocks import GROUP, Blocks

Kernel = Callable[[Tensor], Tensor]
Weight = Tensor | Blocks
PRECISIONS: Final = ("float16", "bfloat16", "int8", "gguf")
DENSE: Final = ("float16", "bfloat16")  # what `auto` may take: no weight is quantised that was not so already
BLOCKS: Final = ("gguf", *DENSE)
COMPANY: Final = (1, 2, 3, 4, 5, 8, 9, 13, 16, 32)
TRIED: Final = 128
PACKED_FOR: Final = 16  # rows that a packed weight is laid out for; any number may come
LONGEST_SUM: Final = 1024  # beyond, oneDNN orders a bfloat16 sum by how many rows there are


def kernel(weight: Weight, precision: str) -> Kernel:
    """The linear map x → x Wᵀ of a weight [N, K], dense float32 or the blocks of a file, at this precision.

    With `gguf`, blocks keep their own values (4-bit levels exactly, their scales rounded to bfloat16) and what is no
    4-bit block runs as float16.
    """
    if precision == "gguf":
        four = isinstance(weight, Blocks) and weight.bits == 4
        return _four_bit(weight) if four else _float16(_dense(weight))  # type: ignore[arg-type]
    return {"float16": _float16, "bfloat16": _bfloat16, "int8": _int8}[precision](_dense(weight))


def activations(precision: str) -> torch.dtype:
    """What the maps of a precision read; another type is converted."""
    return torch.float32 if precision == "float16" else torch.bfloat16


def available(precision: str) -> bool:
    """Whether this build of PyTorch has the operators of a precision and they run on this processor."""
    try:
        return bool(torch.isfinite(kernel(anything(64, 64, precision), precision)(torch.ones(2, 64))).all())
    except (AttributeError, RuntimeError):
        return False


def anything(outputs: int, inputs: int, precision: str) -> Weight:
    """A weight [outputs, inputs] of random numbers as this precision takes it, to try things on."""
    if precision != "gguf":
        return torch.randn(outputs, inputs) / inputs**0.5
    levels = torch.randint(16, (outputs, inputs), dtype=torch.uint8)
    scale = torch.full((outputs, inputs // GROUP), 0.2 / inputs**0.5)
    return Blocks(levels, 4, scale, -8 * scale)


@torch.inference_mode()
def same_bits(linear: Kernel, inputs: int) -> bool:
    """Whether this map gives a row [inputs] the same bits alone and beside others, tried on over a hundred rows.

    Products that add up in another order often round to the same bfloat16, so few rows would not show it.
    """
    rows = torch.randn(TRIED, inputs, generator=torch.Generator().manual_seed(0))
    whole = linear(rows)
    return all(
        torch.equal(linear(rows[start : start + count]), whole[start : start + count])
        for start, count in zip(range(0, TRIED, TRIED // len(COMPANY)), COMPANY, strict=False)
    )


def _dense(weight: Weight) -> Tensor:
    return weight.dense() if isinstance(weight, Blocks) else weight.float()


def _float16(weight: Tensor) -> Kernel:
    packed, multiply = torch.ops.quantized.linear_prepack_fp16(weight, None), torch.ops.quantized.linear_dynamic_fp16
    return lambda x: multiply(x.float(), packed)


def _bfloat16(weight: Tensor) -> Kernel:
    parts = weight.bfloat16().tensor_split(-(-weight.shape[1] // LONGEST_SUM), dim=1)
    width = [part.shape[1] for part in parts]
    maps = [_onednn(part.contiguous()) for part in parts]
    if len(maps) == 1:
        return lambda x: maps[0](x.bfloat16())

    def in_parts(x: Tensor) -> Tensor:
        pieces = x.bfloat16().split(width, dim=1)
        return torch.stack([linear(piece) for linear, piece in zip(maps, pieces, strict=True)]).float().sum(0)

    return in_parts


def _onednn(weight: Tensor) -> Kernel:
    """A bfloat16 product whose weight lies as oneDNN wants it, where this build has that, else as it is."""
    if not torch.backends.mkldnn.is_available():
        return lambda x: torch.nn.functional.linear(x, weight)
    packed, multiply = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR), torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, packed, None, "none", [], "")


def _int8(weight: Tensor) -> Kernel:
    scale = (weight.abs().amax(-1) / 127).clamp(min=1e-12)
    levels = (weight / scale[:, None]).round().to(torch.int8)
    scales = scale.bfloat16()
    return lambda x: torch._weight_int8pack_mm(x.bfloat16(), levels, scales)


def _four_bit(weight: Blocks) -> Kernel:
    """w = (level − 8)·scale + zero in the operator's terms, so zero = offset + 8·scale."""
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(weight.levels.int(), 1)
    pairs = torch.stack([weight.scale, weight.offset + 8 * weight.scale], dim=-1)
    scales = pairs.transpose(0, 1).contiguous().bfloat16()
    multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
    return lambda x: multiply(x.bfloat16(), packed, GROUP, scales)
