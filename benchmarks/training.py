"""One epoch of latent preference optimization from cached features, beside one that runs the language model.

The model is frozen, so the states that a vote's loss needs never change: they are computed once and kept. The yardstick
computes them anew in every epoch, as a trainer without such a cache does: every reply of every vote is read once by
the model, then comes the same pass of updates. Where the model has not read all replies after LONGEST seconds, its time is
scaled from those it read, which are all equally long, the states of the others repeat them, and the table's note says so.

Epochs are those of `fit` at token level, with its held-out pairs; the first one, which also prepares the data, is left out.
Replies are random tokens after short prompts: what a pass costs does not depend on what it reads, and short prompts
favour the yardstick. Processor seconds are those of all threads; other programs disturb them least.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.measure.asked import Asked
from benchmarks.measure.lanes import prompt_of
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value, target
from benchmarks.measure.rounds import LEAST, Spread, ratios
from playground.parts import load_parts
from playground.training.features import cached_states
from playground.training.fit import Epoch, Pairs, Recipe, fit
from playground.training.labels.lanes import GRID

TITLE = "one epoch of preference training from cached features, beside one that runs the model"
MEMORY, CACHE, FORWARDS = "features in memory", "features read from the disk", "features from the model"
LEAST_RATIO = 50
LONGEST = 150.0  # seconds of the model's passes

Reply = tuple[list[int], list[int]]
Clock = tuple[Callable[[], float], Callable[[], float]]
CLOCKS: Clock = (time.perf_counter, time.process_time)


def run(asked: Asked) -> Result:
    votes, tokens = asked.size(1000, 16), asked.size(128, 32)
    model = load_parts(asked.settings).language_model
    replies = _replies(model, 2 * votes, tokens)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        read, forwards = _forwards(model, replies, folder)
        asked.progress(f"{read} of {len(replies)} replies read by the model in {forwards[0]:.1f} s")
        began = [clock() for clock in CLOCKS]
        hidden = torch.cat([cached_states(model, *reply, folder) for reply in replies[:read]])
        reading = [clock() - start for clock, start in zip(CLOCKS, began, strict=True)]
    epochs = _epochs(_pairs(_repeated(hidden, 2 * votes * tokens), votes, tokens))
    scale = len(replies) / read
    each = zip(zip(*epochs, strict=True), forwards, reading, strict=True)
    found = [_seconds(values, passes * scale, files * scale) for values, passes, files in each]
    rows: list[dict[str, Value]] = []
    for name in (MEMORY, CACHE, FORWARDS):
        faster, less = (ratios(clock[FORWARDS], clock[name]) for clock in found)
        checks = target(less, least=LEAST_RATIO) if name == MEMORY and not asked.quick else {}
        rows.append(
            {
                "what": name,
                "seconds": Spread.of(found[0][name]),
                "times faster": faster,
                "processor seconds": Spread.of(found[1][name]),
                "times less": less,
                **checks,
            }
        )
    prompt = sum(len(ids) for ids, _ in replies) / len(replies)
    how = conditions(model=model, votes=votes, reply_tokens=tokens, prompt_tokens=prompt, epochs=LEAST)
    columns = {"what": "", "seconds": ".3f", "times faster": ".1f", "processor seconds": ".3f", "times less": ".1f"}
    table = Table("One epoch", {**columns, "target": "", "met": ""}, rows)
    return Result("training", how, [table], [_note(read, len(replies), forwards[0], reading[0])])


def _note(read: int, replies: int, forwards: float, reading: float) -> str:
    scaled = "" if read == replies else f"; its seconds, and those of the disk, are scaled by {replies / read:.3f}"
    return (
        f"The model read {read} of the {replies} replies, once, in {forwards:.1f} s{scaled}. The cache is read once a training, "
        f"not once an epoch ({reading:.2f} s for {read})."
    )


def _seconds(epochs: tuple[float, ...], forwards: float, reading: float) -> dict[str, list[float]]:
    """What an epoch takes by where its features come from, one figure for each epoch measured."""
    return {
        MEMORY: list(epochs),
        CACHE: [reading + epoch for epoch in epochs],
        FORWARDS: [forwards + epoch for epoch in epochs],
    }


def _replies(model: Any, count: int, tokens: int) -> list[Reply]:
    """Token ids of prompts and of random replies, each different."""
    noise = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.vocab_size, (count, tokens), generator=noise).tolist()
    return [(model.encode_text(prompt_of(number)), reply) for number, reply in enumerate(ids)]


def _forwards(model: Any, replies: list[Reply], folder: Path) -> tuple[int, tuple[float, float]]:
    """How many replies were read, and the seconds of the passes alone by both clocks; states are kept in `folder`."""
    passed = [0.0, 0.0]
    for number, (prompt_ids, ids) in enumerate(tqdm(replies, desc="model", mininterval=5)):
        if passed[0] > LONGEST:
            return number, (passed[0], passed[1])
        began = [clock() for clock in CLOCKS]
        hidden = model.features(prompt_ids, ids)
        passed = [sum_ + clock() - start for sum_, clock, start in zip(passed, CLOCKS, began, strict=True)]
        cached_states(_Known(model, hidden), prompt_ids, ids, folder)
    return len(replies), (passed[0], passed[1])


class _Known:
    """A model whose states of one reply are known already."""

    def __init__(self, model: Any, hidden: torch.Tensor) -> None:
        self.name, self.revision, self.precision = model.name, model.revision, model.precision
        self._hidden = hidden

    def features(self, prompt_ids: Any, reply_ids: Any) -> torch.Tensor:
        return self._hidden

    def teacher_forced(self, prompt_ids: Any, reply_ids: Any) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError


def _repeated(hidden: torch.Tensor, rows: int) -> torch.Tensor:
    """The same states [S, H] again and again until there are `rows`."""
    return hidden if len(hidden) == rows else hidden[torch.arange(rows) % len(hidden)]


def _pairs(hidden: torch.Tensor, votes: int, tokens: int) -> Pairs:
    """Votes on a prompt each, the temperatures of every token drawn uniformly from the grid."""
    noise = torch.Generator().manual_seed(1)
    pair = torch.arange(votes).repeat_interleave(2 * tokens)
    sign = torch.tensor([1.0] * tokens + [-1.0] * tokens).repeat(votes)
    index = torch.randint(0, len(GRID), (len(pair),), generator=noise)
    return Pairs(hidden, index, pair, sign, tuple(f"{number}" for number in range(votes)))


def _epochs(pairs: Pairs) -> list[tuple[float, float]]:
    """Seconds of each epoch but the first by both clocks, from the end of one to the end of the next."""
    ends: list[tuple[float, float]] = []

    def ended(epoch: Epoch) -> None:
        ends.append((CLOCKS[0](), CLOCKS[1]()))

    fit(pairs, len(GRID), Recipe(epochs=LEAST + 1, patience=LEAST + 1), progress=ended)
    return [(after[0] - before[0], after[1] - before[1]) for before, after in itertools.pairwise(ends)]
