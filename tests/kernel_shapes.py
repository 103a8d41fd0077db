"""A child of tests/test_kernels.py: every kernel at many shapes against the dense product, since a wrong one may end the process.

Prints one line a shape and precision before it is tried, and one for each that is wrong.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from models.llama.blocks import GROUP, Blocks
from models.llama.kernels import LONGEST_SUM, PRECISIONS, kernel

OUTPUTS = (1, 3, 15, 16, 17, 33, 200)
INPUTS = (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 40, 64, 200, 216, 333, LONGEST_SUM - 1, LONGEST_SUM, LONGEST_SUM + 1, 2049)
ROWS = (1, 2, 3, 5, 8, 13, 40)
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 0.03, "int8": 0.04, "gguf": 0.03}


def fenced(values: Tensor) -> Tensor:
    """The same values with NaN on both sides of them in memory, so that whoever reads further returns NaN."""
    buffer = torch.full((values.numel() + 256,), float("nan"), dtype=values.dtype)
    middle = buffer[128:-128]
    middle.copy_(values.flatten())
    return middle.view(values.shape)


def weight_of(outputs: int, inputs: int, precision: str, generator: torch.Generator) -> Tensor | Blocks:
    if precision != "gguf":
        return fenced(torch.randn(outputs, inputs, generator=generator) / inputs**0.5)
    scale = (0.5 + torch.rand(outputs, inputs // GROUP, generator=generator)) * 0.2 / inputs**0.5
    levels = torch.randint(16, (outputs, inputs), generator=generator, dtype=torch.uint8)
    return Blocks(levels, 4, scale, -7.3 * scale)


def wrong(outputs: int, inputs: int, precision: str, generator: torch.Generator) -> list[str]:
    """What is wrong with the map of one shape, over rows of several counts and layouts."""
    weight, found = weight_of(outputs, inputs, precision, generator), []
    multiply = kernel(weight, precision)
    dense = (weight.dense() if isinstance(weight, Blocks) else weight).double()
    for count in ROWS:
        rows = torch.randn(count, inputs, generator=generator)
        beside = torch.cat([rows, torch.full((count, 3), float("nan"))], dim=1)[:, :inputs]
        layouts = {"plain": rows, "beside": beside, "turned": rows.T.contiguous().T}
        for name, given in {**layouts, "fenced": fenced(rows), "halved": fenced(rows.bfloat16())}.items():
            expected, product = given.double() @ dense.T, multiply(given)
            error = (product.double() - expected).abs().max() / expected.abs().max().clamp(min=0.5)
            if product.shape != expected.shape or not error < TOLERANCE[precision]:
                found.append(f"wrong {precision} {outputs} x {inputs}, {count} rows, {name}: {float(error):.3g}")
    return found


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    generator = torch.Generator().manual_seed(0)
    for precision in ("float32", *PRECISIONS):
        sides = [side for side in INPUTS if side % GROUP == 0] + [96, 224] if precision == "gguf" else INPUTS
        for outputs in OUTPUTS:
            for inputs in sides:
                print("tried", precision, outputs, inputs, flush=True)
                for fault in wrong(outputs, inputs, precision, generator):
                    print(fault, flush=True)


if __name__ == "__main__":
    main()
