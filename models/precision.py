"""Which precision a Llama-like model runs in on this CPU: measured at start on the shapes of its layers.

`auto` chooses among the precisions that quantise nothing which was not quantised already: the blocks of a GGUF file where
there are some, else float16 weights, the closest to float32, unless another is faster by more than WORTH, so that a busy
machine does not choose differently at every start. int8 is for whoever asks for it.

A decode step reads every weight once, so what counts is how fast weights come from memory: as many layers are measured as
no cache holds.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import torch

from models.llama.kernels import Kernel, anything, available, kernel

OFFERED = ("auto", "float32", "float16", "bfloat16", "int8", "gguf")
ROWS, ROUNDS, WORTH = 2, 8, 1.25
BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "gguf": 0.625}  # a weight, its share of the scales included
BEYOND_CACHES = 48e6  # bytes
WIDEST = 2048  # a side of the measured maps, so that a large model starts no later
WORDS = {
    "float32": "Float32 throughout",
    "float16": "Float16 weights, float32 arithmetic",
    "bfloat16": "Bfloat16 weights and activations",
    "gguf": "The GGUF file's own 4- and 8-bit blocks, bfloat16 activations",
}


def measured(config: Any, candidates: Sequence[str]) -> tuple[str, str]:
    """The precision `auto` takes for a model of this configuration, and why in one sentence; the first is preferred."""
    times = {name: _seconds(config, name) for name in candidates if available(name)} | {
        "float32": _seconds(config, "float32")
    }
    best = min(times, key=lambda name: times[name] / (WORTH if name == candidates[0] else 1.0))
    said = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in times.items())
    return best, f"{WORDS[best]}; one layer's linear maps over {ROWS} rows, measured at this start: {said}."


@torch.inference_mode()
def _seconds(config: Any, precision: str) -> float:
    """The time of one layer's maps in the fastest round: what else the machine did meanwhile does not count."""
    layers = _layers(config, precision)
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for linear, rows in layers:
            linear(rows)
        rounds.append(time.perf_counter() - began)
    return min(rounds) * 4 / len(layers)


def _layers(config: Any, precision: str) -> list[tuple[Kernel, torch.Tensor]]:
    """The four maps of as many layers as are beyond the caches, with the rows they are measured on."""
    hidden, feed = (min(WIDEST, side) for side in (config.hidden_size, config.intermediate_size))
    shapes = ((2 * hidden, hidden), (hidden, hidden), (2 * feed, hidden), (hidden, feed))
    count = int(BEYOND_CACHES / (BYTES[precision] * sum(rows * columns for rows, columns in shapes))) + 1
    maps = []
    for outputs, inputs in shapes:
        weight, rows = anything(outputs, inputs, precision), torch.randn(ROWS, inputs)
        for _ in range(count):
            if precision == "float32":
                linear: Kernel = functools.partial(torch.nn.functional.linear, weight=weight.clone())  # type: ignore[union-attr]
            else:
                linear = kernel(weight, precision)
            maps.append((linear, rows))
    return maps
