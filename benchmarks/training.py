"""One epoch of latent preference optimization from cached features, beside one that runs the language model.

The model is frozen, so the states that a vote's loss needs never change: they are computed once and kept. An epoch is
the loss and update over all pairs (here with the reading of what it needs); the yardstick computes the states anew in
every epoch, as a trainer without such a cache does. Replies are decoded by the app; every other vote goes to the first.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.measure.asked import Asked
from benchmarks.measure.lanes import prompt_of
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value
from benchmarks.measure.rounds import LEAST, Spread, in_turns, ratios
from playground.decoding.trace import Request
from playground.errors import PlaygroundError
from playground.parts import Parts, load_parts
from playground.records import Preference
from playground.training.features import pairs_of
from playground.training.fit import Pairs, Recipe, fit

TITLE = "one epoch of preference training from cached features, beside one that runs the model"
ARM = "adaptive-token:select=sample"
CACHED, FORWARDS, IN_MEMORY = "features from the cache", "features from the model", "features in memory"


def run(asked: Asked) -> Result:
    votes, tokens = asked.size(16, 4), asked.size(96, 24)
    parts = load_parts(asked.settings)
    preferences = [_preference(parts, number, tokens) for number in range(votes)]
    asked.progress(f"{votes} pairs of replies decoded")
    with tempfile.TemporaryDirectory() as scratch:
        warm = Path(scratch) / "warm"
        pairs, _ = pairs_of(parts.language_model, preferences, "token", warm)
        grid = len(preferences[0].a[0].grid or ())
        measures: dict[str, Callable[[int], float]] = {
            CACHED: lambda _: _epoch(parts, preferences, warm, grid),
            FORWARDS: lambda number: _epoch(parts, preferences, Path(scratch) / str(number), grid),
            IN_MEMORY: partial(_updates, pairs, grid),
        }
        seconds = in_turns(measures, LEAST)
    rows: list[dict[str, Value]] = [
        {"what": name, "seconds": Spread.of(values), "times faster": ratios(seconds[FORWARDS], values)}
        for name, values in seconds.items()
    ]
    how = conditions(model=parts.language_model, rounds=LEAST, pairs=votes, steps=len(pairs.index))
    table = Table("One epoch", {"what": "", "seconds": ".3f", "times faster": ".1f"}, rows)
    return Result("training", how, [table])


def _preference(parts: Parts, number: int, tokens: int) -> Preference:
    """A vote between two replies whose temperatures were sampled."""
    request = Request(prompt_of(number), seed=number, max_tokens=tokens)
    a, b = parts.generate(request, [ARM, ARM])
    if not a.steps or not b.steps:
        raise PlaygroundError("A reply had no token; name another --model.")
    return Preference(
        vote_id=uuid.uuid4().hex,
        battle_id=uuid.uuid4().hex,
        source="heuristic",
        blind=True,
        mode="collect",
        outcome="a" if number % 2 else "b",
        left="a",
        propensity=1.0,
        prompt=request.prompt,
        family=None,
        a=(a,),
        b=(b,),
    )


def _epoch(parts: Parts, preferences: list[Preference], folder: Path, grid: int) -> float:
    """Seconds of reading the states through `folder`, which may hold them, and one pass of updates."""
    began = time.perf_counter()
    pairs, _ = pairs_of(parts.language_model, preferences, "token", folder)
    fit(pairs, grid, Recipe(epochs=1))
    return time.perf_counter() - began


def _updates(pairs: Pairs, grid: int, _round: int) -> float:
    began = time.perf_counter()
    fit(pairs, grid, Recipe(epochs=1))
    return time.perf_counter() - began
