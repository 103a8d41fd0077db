"""Which precision a Llama-like model runs in on this CPU: measured at start on the shapes of one layer.

`auto` takes the fastest of the precisions that keep the model what it is, and float16 weights, the closest to float32 of
them, unless another is faster by more than WORTH: a fast answer in a distribution that is not the model's would be no
bargain. int8 and gguf are for whoever asks for them.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from models.llama import kernels

OFFERED = ("auto", "float32", "float16", "bfloat16", "int8", "gguf")
CANDIDATES = ("float16", "bfloat16", "float32")
ROWS, ROUNDS, WORTH = 2, 7, 1.25
WIDEST = 2048  # a side of the measured maps, so that a large model starts no later


def measured(config: Any) -> tuple[str, str]:
    """The precision `auto` takes for a model of this configuration, and one sentence that says why."""
    times = {name: _seconds(config, name) for name in CANDIDATES if name == "float32" or kernels.available(name)}
    best = min(times, key=lambda name: times[name] / (WORTH if name == "float16" else 1.0))
    said = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in times.items())
    return best, f"The linear maps of one layer, {ROWS} rows, measured at this start: {said}."


@torch.inference_mode()
def _seconds(config: Any, precision: str) -> float:
    """The median time of one layer's maps; the first round does not count."""
    maps = [(kernel, torch.randn(ROWS, inputs)) for kernel, inputs in _maps(config, precision)]
    rounds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        for kernel, rows in maps:
            kernel(rows)
        rounds.append(time.perf_counter() - began)
    return statistics.median(rounds[1:])


def _maps(config: Any, precision: str) -> Sequence[tuple[kernels.Kernel, int]]:
    hidden, feed = (min(WIDEST, side) for side in (config.hidden_size, config.intermediate_size))
    shapes = ((2 * hidden, hidden), (hidden, hidden), (2 * feed, hidden), (hidden, feed))
    weights = [torch.randn(shape) / shape[1] ** 0.5 for shape in shapes]
    if precision == "float32":
        return [(functools.partial(torch.nn.functional.linear, weight=w), w.shape[1]) for w in weights]
    return [(kernels.kernel(w, precision), w.shape[1]) for w in weights]
