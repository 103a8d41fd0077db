"""Weight-only linear maps of a CPU, by precision: the weights are stored small, the activations never quantised.

    float16    half-precision weights, float32 arithmetic (FBGEMM)
    bfloat16   bfloat16 weights and activations, float32 accumulation (oneDNN)
    int8       8-bit weights with one scale an output, bfloat16 activations
    gguf       the 4-bit blocks of a GGUF file as they are, bfloat16 activations; other maps as float16

A kernel maps x [M, K] float32 to [M, N] float32 or bfloat16. Whether a row's bits depend on the rows beside it is a
property of the library and the machine: `same_bits` looks. The int8 and gguf kernels are private operators of PyTorch;
`available` says what this build and this processor have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

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
WIDE: Final = 16  # numbers that PyTorch's 8-bit product reads at once, and outputs that a 4-bit weight is packed by
LARGEST: Final = torch.finfo(torch.float16).max
SMALLEST: Final = 2.0**-12  # a matrix all of whose weights are smaller loses digits as float16
SHAPES: Final = ((64, 64), (33, 40))  # outputs and inputs that `available` tries: a whole number of registers, and not


def kernel(weight: Weight, precision: str) -> Kernel:
    """The linear map x → x Wᵀ of a weight [N, K], dense float32 or the blocks of a file, at this precision.

    With `gguf`, blocks keep their own values (4-bit levels exactly, their scales rounded to bfloat16) and what is no
    4-bit block runs as float16. `float32` is for what does not fit.
    """
    if precision == "gguf" and _four_bits(weight):
        return _four_bit(weight)  # type: ignore[arg-type]
    maps = {"float32": _float32, "float16": _float16, "bfloat16": _bfloat16, "int8": _int8, "gguf": _float16}
    return maps[precision](_dense(weight))


def fitting(weight: Weight, precision: str) -> bool:
    """Whether a precision holds the numbers of a weight: float16 ends at 65504, and loses digits of the smallest."""
    if precision not in ("float16", "gguf") or _four_bits(weight):
        return True
    most = _largest(weight)
    return most == 0.0 or SMALLEST <= most <= LARGEST


def _largest(weight: Weight) -> float:
    """The largest magnitude among the weights, or a bound of it."""
    if isinstance(weight, Blocks):
        return float((weight.scale.abs() * (1 << weight.bits) + weight.offset.abs()).max())
    low, high = weight.aminmax()
    return max(-float(low), float(high))


def _four_bits(weight: Weight) -> bool:
    return isinstance(weight, Blocks) and weight.bits == 4


def activations(precision: str) -> torch.dtype:
    """What the maps of a precision read; another type is converted."""
    return torch.float32 if precision == "float16" else torch.bfloat16


@torch.inference_mode()
def available(precision: str) -> bool:
    """Whether this build of PyTorch has the operators of a precision and they give its products on this processor."""
    try:
        with torch.random.fork_rng([]):
            return all(_is_product(anything(*shape, precision), precision) for shape in SHAPES)
    except (AttributeError, RuntimeError):
        return False


def _is_product(weight: Weight, precision: str) -> bool:
    dense = _dense(weight)
    rows = torch.randn(3, dense.shape[1])
    expected = rows @ dense.T
    return bool((kernel(weight, precision)(rows) - expected).abs().max() < 0.1 * expected.abs().max())


def anything(outputs: int, inputs: int, precision: str) -> Weight:
    """A weight [outputs, inputs] of random numbers as this precision takes it, to try things on."""
    if precision != "gguf" or inputs % GROUP:
        return torch.randn(outputs, inputs) / inputs**0.5
    levels = torch.randint(16, (outputs, inputs), dtype=torch.uint8)
    scale = torch.full((outputs, inputs // GROUP), 0.2 / inputs**0.5)
    return Blocks(levels, 4, scale, -8 * scale)


@torch.inference_mode()
def same_bits(multiply: Kernel, inputs: int) -> bool:
    """Whether this map gives a row [inputs] the same bits alone and beside others, tried on over a hundred rows.

    Products that add up in another order often round to the same bfloat16, so few rows would not show it.
    """
    rows = torch.randn(TRIED, inputs, generator=torch.Generator().manual_seed(0))
    whole = multiply(rows)
    return all(
        torch.equal(multiply(rows[start : start + count]), whole[start : start + count])
        for start, count in zip(range(0, TRIED, TRIED // len(COMPANY)), COMPANY, strict=False)
    )


def _dense(weight: Weight) -> Tensor:
    return weight.dense() if isinstance(weight, Blocks) else weight.float()


def _float32(weight: Tensor) -> Kernel:
    return lambda x: linear(x.float(), weight)


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
        return torch.stack([multiply(piece) for multiply, piece in zip(maps, pieces, strict=True)]).float().sum(0)

    return in_parts


def _onednn(weight: Tensor) -> Kernel:
    """A bfloat16 product whose weight lies as oneDNN wants it, where this build has that, else as it is."""
    if not torch.backends.mkldnn.is_available():
        return lambda x: linear(x, weight)
    packed, multiply = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR), torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, packed, None, "none", [], "")


def _int8(weight: Tensor) -> Kernel:
    """The operator reads WIDE inputs at once, beyond the end of a row that is shorter: rows are filled up with zeros."""
    scale = (weight.abs().amax(-1) / 127).clamp(min=1e-12)
    missing = -weight.shape[1] % WIDE
    levels = pad((weight / scale[:, None]).round().to(torch.int8), (0, missing))
    scales = scale.bfloat16()
    if missing:
        return lambda x: torch._weight_int8pack_mm(pad(_rows(x), (0, missing)), levels, scales)
    return lambda x: torch._weight_int8pack_mm(_rows(x), levels, scales)


def _four_bit(weight: Blocks) -> Kernel:
    """w = (level − 8)·scale + zero in the operator's terms, so zero = offset + 8·scale. It packs WIDE outputs together,
    so further ones of zeros are added and cut off.
    """
    outputs = weight.levels.shape[0]
    missing = -outputs % WIDE
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(pad(weight.levels.int(), (0, 0, 0, missing)), 1)
    pairs = pad(torch.stack([weight.scale, weight.offset + 8 * weight.scale], dim=-1), (0, 0, 0, 0, 0, missing))
    scales = pairs.transpose(0, 1).contiguous().bfloat16()
    multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
    if missing:
        return lambda x: multiply(_rows(x), packed, GROUP, scales)[:, :outputs]
    return lambda x: multiply(_rows(x), packed, GROUP, scales)


def _rows(x: Tensor) -> Tensor:
    """bfloat16, each row in one piece and behind the one before."""
    return x.bfloat16().contiguous()
