"""The model alone: a greedy loop with no trace, no policy and no text, on the same engine."""

from __future__ import annotations

import time

import torch

from benchmarks.measure.lanes import Timed
from playground.decoding.model import Model


def greedy(model: Model, prompt: str, rows: int, tokens: int) -> Timed:
    """`tokens` tokens of every row, the most probable each; the rows are padded as the engine pads its lanes."""
    began, worked = time.perf_counter(), time.process_time()
    output, cache = model.prefill(model.encode_chat(prompt, None, ""))
    cache = model.expand(cache, model.rows_for(rows))
    drawn = output.logits.argmax(-1).expand(model.rows_for(rows))
    read = time.perf_counter()
    for _ in range(tokens - 1):
        drawn = model.step(drawn, cache).logits.argmax(-1)
    done = time.perf_counter()
    return Timed(rows * tokens, done - began, done - read, time.process_time() - worked)


def seconds_a_step(model: Model, prompt: str, rows: int, steps: int) -> float:
    """The median time of one forward pass of `rows` rows over one token each."""
    _, cache = model.prefill(model.encode_chat(prompt, None, ""))
    cache = model.expand(cache, rows)
    tokens, seconds = torch.ones(rows, dtype=torch.long), []
    for _ in range(steps):
        began = time.perf_counter()
        model.step(tokens, cache)
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]
