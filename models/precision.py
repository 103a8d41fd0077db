"""Which precision a Llama-like model runs in on this CPU: measured once a machine on the shapes of its layers.

`auto` chooses among the precisions that quantise nothing which was not quantised already: the blocks of a GGUF file where
there are some, else float16 weights, the closest to float32, unless another is faster by more than WORTH. int8 is for
whoever asks for it.

Two starts of one machine must not choose differently, since the precision decides the reply. So what counts is the
processor time of one thread, which other programs hardly change, in the best of many rounds that the precisions take in
turns; and what was found is kept. A decode step reads every weight once from memory, so the caches are emptied before
each layer.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models.llama.kernels import Kernel, anything, available, kernel
from models.machine import processor
from models.remembered import remembered
from models.threads import at_most

OFFERED = ("auto", "float32", "float16", "bfloat16", "int8", "gguf")
ROWS, WORTH = 2, 1.25
ROUNDS, LEAST, SECONDS = 16, 3, 0.6  # as many rounds as end within the seconds, but never fewer than the least
BEYOND_CACHES = 64 << 20  # bytes
WIDEST = 1024  # a side of the measured maps, so that a large model starts no later
KEPT = "precisions"  # a folder of the cache
CLOCK = time.perf_counter if sys.platform == "win32" else time.thread_time  # Windows counts that in ticks of 15 ms
WORDS = {
    "float32": "Float32 throughout",
    "float16": "Float16 weights, float32 arithmetic",
    "bfloat16": "Bfloat16 weights and activations",
    "gguf": "The layers as the GGUF file's own 4-bit blocks, bfloat16 activations",
}


def measured(config: Any, candidates: Sequence[str], cache: Path) -> tuple[str, str]:
    """The precision `auto` takes for a model of this configuration, and why in plain sentences; the first is preferred.

    What was measured is kept under `cache`.
    """
    names = [name for name in candidates if available(name)] + ["float32"]
    sides = [min(WIDEST, side) for side in (config.hidden_size, config.intermediate_size)]
    depends = {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precisions": names,
        "sides": sides,
        "rows": ROWS,
    }
    times = remembered(cache / KEPT, depends, lambda found: _sound(found, names), lambda: seconds(sides, names))
    best = min(names, key=lambda name: times[name] / (WORTH if name == names[0] else 1.0))
    said = ", ".join(f"{name} {1e3 * times[name]:.2f} ms" for name in names)
    return best, (
        f"{WORDS[best]}; one layer's linear maps over {ROWS} rows took one thread {said}. Measured once on this machine: "
        f"delete the folder {KEPT!r} in the cache folder to measure again."
    )


def _sound(found: Any, names: Sequence[str]) -> bool:
    """Whether `found` are times of these precisions."""
    if not isinstance(found, dict) or set(found) != set(names):
        return False
    return all(type(value) is float and math.isfinite(value) and value > 0 for value in found.values())


@torch.inference_mode()
def seconds(sides: Sequence[int], names: Sequence[str]) -> dict[str, float]:
    """One thread's processor time for one layer's maps in each precision, at its best."""
    began = time.perf_counter()
    found = dict.fromkeys(names, math.inf)
    with at_most(1), torch.random.fork_rng([]):
        layers = {name: _layer(sides, name) for name in names}
        rows = {inputs: torch.randn(ROWS, inputs) for inputs in sides}
        other = torch.ones(BEYOND_CACHES // 4)
        for number in range(ROUNDS):
            if number >= LEAST and time.perf_counter() - began > SECONDS:
                break
            for name in names:
                other.sum()
                started = CLOCK()
                for linear, inputs in layers[name]:
                    linear(rows[inputs])
                found[name] = min(found[name], CLOCK() - started)
    return found


def _layer(sides: Sequence[int], precision: str) -> list[tuple[Kernel, int]]:
    """The four maps of a layer, with the inputs that each takes."""
    hidden, feed = sides
    maps = []
    for outputs, inputs in ((2 * hidden, hidden), (hidden, hidden), (2 * feed, hidden), (hidden, feed)):
        maps.append((kernel(anything(outputs, inputs, precision), precision), inputs))
    return maps
