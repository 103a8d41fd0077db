"""One epoch of latent preference optimization from cached features, beside one that runs the language model.

The model is frozen, so the states that a vote's loss needs never change: they are computed once and kept. The yardstick
computes them anew in every epoch, as a trainer without such a cache does: every reply of every vote is read once by
the model (nothing is scaled up; after LONGEST seconds the votes read by then are all there are), then comes the same pass of updates. Epochs are those of `fit` at token level, with its
held-out pairs; the first one, which also prepares the data, is left out. Replies are random tokens after short
prompts: what a pass costs does not depend on what it reads, and short prompts favour the yardstick.
"""

from __future__ import annotations

import itertools
import tempfile
import time
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
from playground.training.lanes import GRID

TITLE = "one epoch of preference training from cached features, beside one that runs the model"
MEMORY, CACHE, FORWARDS = "features in memory", "features read from the disk", "features from the model"
LEAST_RATIO = 50
LONGEST = 280.0  # seconds of the model's passes

Reply = tuple[list[int], list[int]]


def run(asked: Asked) -> Result:
    votes, tokens = asked.size(1000, 16), asked.size(128, 32)
    model = load_parts(asked.settings).language_model
    replies = _replies(model, 2 * votes, tokens)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        replies, forwards = _forwards(model, replies, folder)
        asked.progress(f"{len(replies)} replies read by the model in {forwards:.1f} s")
        began = time.perf_counter()
        hidden = torch.cat([cached_states(model, *reply, folder) for reply in replies])
        reading = time.perf_counter() - began
    votes = len(replies) // 2
    epochs = _epochs(_pairs(hidden, votes, tokens))
    whole = [forwards + epoch for epoch in epochs]
    seconds = {MEMORY: epochs, CACHE: [reading + epoch for epoch in epochs], FORWARDS: whole}
    rows: list[dict[str, Value]] = []
    for name, values in seconds.items():
        faster = ratios(whole, values)
        checks = target(faster, least=LEAST_RATIO) if name == MEMORY and not asked.quick else {}
        rows.append({"what": name, "seconds": Spread.of(values), "times faster": faster, **checks})
    prompt = sum(len(ids) for ids, _ in replies) / len(replies)
    how = conditions(model=model, votes=votes, reply_tokens=tokens, prompt_tokens=prompt, epochs=LEAST)
    columns = {"what": "", "seconds": ".3f", "times faster": ".1f", "target": "", "met": ""}
    note = (
        f"The model read all {len(replies)} replies once ({forwards:.1f} s); the cache is read once a training, not once an epoch "
        f"({reading:.2f} s)."
    )
    return Result("training", how, [Table("One epoch", columns, rows)], [note])


def _replies(model: Any, count: int, tokens: int) -> list[Reply]:
    """Token ids of prompts and of random replies, each different."""
    noise = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.vocab_size, (count, tokens), generator=noise).tolist()
    return [(model.encode_text(prompt_of(number)), reply) for number, reply in enumerate(ids)]


def _forwards(model: Any, replies: list[Reply], folder: Path) -> tuple[list[Reply], float]:
    """The replies read, whole votes, and the seconds of the passes alone; states are kept in `folder`, outside the clock."""
    seconds = 0.0
    for number, (prompt_ids, ids) in enumerate(tqdm(replies, desc="model", mininterval=5)):
        if seconds > LONGEST and number % 2 == 0:
            return replies[:number], seconds
        began = time.perf_counter()
        hidden = model.features(prompt_ids, ids)
        seconds += time.perf_counter() - began
        cached_states(_Known(model, hidden), prompt_ids, ids, folder)
    return replies, seconds


class _Known:
    """A model whose states of one reply are known already."""

    def __init__(self, model: Any, hidden: torch.Tensor) -> None:
        self.name, self.revision, self.precision = model.name, model.revision, model.precision
        self._hidden = hidden

    def features(self, prompt_ids: Any, reply_ids: Any) -> torch.Tensor:
        return self._hidden

    def teacher_forced(self, prompt_ids: Any, reply_ids: Any) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError


def _pairs(hidden: torch.Tensor, votes: int, tokens: int) -> Pairs:
    """Votes on a prompt each, the temperatures of every token drawn uniformly from the grid."""
    noise = torch.Generator().manual_seed(1)
    pair = torch.arange(votes).repeat_interleave(2 * tokens)
    sign = torch.tensor([1.0] * tokens + [-1.0] * tokens).repeat(votes)
    index = torch.randint(0, len(GRID), (len(pair),), generator=noise)
    return Pairs(hidden, index, pair, sign, tuple(f"{number}" for number in range(votes)))


def _epochs(pairs: Pairs) -> list[float]:
    """Seconds of each epoch but the first, from the end of one to the end of the next."""
    ends: list[float] = []

    def ended(epoch: Epoch) -> None:
        ends.append(time.perf_counter())

    fit(pairs, len(GRID), Recipe(epochs=LEAST + 1, patience=LEAST + 1), progress=ended)
    return [later - earlier for earlier, later in itertools.pairwise(ends)]
