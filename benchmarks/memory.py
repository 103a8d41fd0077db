"""Memory over many generations: the resident set of a process that decodes thousands of replies stays flat.

TinyLM, the tests' random net, goes through the engine 10,000 times with two lanes, the loaded model 200 times through
the app's own door. The yardstick is the run's own beginning: after a warm-up of a tenth of the generations, the median
of the last tenth of the samples over that of the first, and the highest sample over the lowest.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator

from benchmarks.measure.asked import Asked
from benchmarks.measure.lanes import FIXED, PROMPTS
from benchmarks.measure.machine import conditions, resident_bytes
from benchmarks.measure.result import Result, Table, Value, target
from playground.decoding import engine
from playground.decoding.policies.base import Head, Resources
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Finished, Request
from playground.errors import PlaygroundError
from playground.parts import load_parts
from tests.tiny_lm import TinyLM

TITLE = "memory over 10,000 generations of a tiny model and 200 of the loaded one"
SPECS = (FIXED, "edt")
TINY_TOKENS = 8
SAMPLES = 100  # of the resident set over a run
FLAT = 1.05


def run(asked: Asked) -> Result:
    many, few = asked.size(10_000, 1000), asked.size(200, 20)
    try:
        resident_bytes()
    except OSError:
        raise PlaygroundError("This system does not tell a process its memory; run this benchmark on Linux.") from None
    rows = [_row(f"TinyLM, {TINY_TOKENS} tokens", many, _sampled(asked, _tiny(), many, min(SAMPLES, many)))]
    parts = load_parts(asked.settings)
    tokens = asked.size(48, 16)

    def generate(number: int) -> None:
        parts.generate(Request(PROMPTS[number % len(PROMPTS)], seed=number, max_tokens=tokens), SPECS)

    name = f"{parts.language_model.name}, {tokens} tokens"
    rows.append(_row(name, few, _sampled(asked, generate, few, min(SAMPLES, few))))
    columns = {"model": "", "generations": "d", "first MB": ".0f", "last MB": ".0f", "last ÷ first": ".3f"}
    columns |= {"highest ÷ lowest": ".3f", "target": "", "met": ""}
    table = Table(f"Resident set after a warm-up of a tenth, {len(SPECS)} lanes", columns, rows)
    return Result("memory", conditions(model=parts.language_model), [table])


def _tiny() -> Callable[[int], None]:
    """A generation of TinyLM straight through the engine."""
    model, policies = TinyLM(end_bias=-99.0), catalogue({})

    def no_head(name: str) -> Head:
        raise AssertionError("none of these policies is learned")

    def generate(number: int) -> None:
        request = Request(PROMPTS[number % len(PROMPTS)], seed=number, max_tokens=TINY_TOKENS)
        rows = engine.rows_of(request, [policies.parse(spec) for spec in SPECS], None)
        for event in engine.stream(model, request, rows, Resources(no_head)):
            if isinstance(event, Finished):
                assert all(len(trace.steps) == TINY_TOKENS for trace in event.traces)

    return generate


def _sampled(asked: Asked, generate: Callable[[int], None], generations: int, samples: int) -> list[int]:
    """The resident set in bytes after every (generations / samples)-th generation, the first tenth left out."""
    found = list(_samples(asked, generate, generations, samples))
    return found[len(found) // 10 :]


def _samples(asked: Asked, generate: Callable[[int], None], generations: int, samples: int) -> Iterator[int]:
    every = generations // samples
    for number in range(generations):
        generate(number)
        if (number + 1) % every == 0:
            gc.collect()
            yield resident_bytes()
        if (number + 1) % (generations // 4) == 0:
            asked.progress(f"{number + 1} of {generations} generations, {resident_bytes() / 1e6:.0f} MB")


def _row(name: str, generations: int, resident: list[int]) -> dict[str, Value]:
    tenth = max(1, len(resident) // 10)
    first, last = statistics.median(resident[:tenth]), statistics.median(resident[-tenth:])
    return {
        "model": name,
        "generations": generations,
        "first MB": first / 1e6,
        "last MB": last / 1e6,
        "last ÷ first": last / first,
        "highest ÷ lowest": max(resident) / min(resident),
        **target(last / first, most=FLAT),
    }
