"""One variant from its files to its verdicts: two loads in each of two precisions, its reference, and the command line."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.damage import bases
from benchmarks.damage.attempt import Given, attempt, command
from benchmarks.damage.judge import FAULT, Verdict, sentence_fault, verdict
from benchmarks.damage.kind import REFUSED, RIGHT
from benchmarks.damage.odd_kinds import RAN
from benchmarks.damage.processes import CutShortError, Processes
from benchmarks.damage.references import Answer, answer
from benchmarks.damage.variants import Variant
from benchmarks.damage.variants import variant as variant_of

EVERY: Final = 4  # of so many variants, one is also tried through the command line
COMMAND: Final = "command line"


@dataclass(frozen=True)
class Found:
    """A variant, what was done to it, and the worst that came of it by each way in."""

    variant: Variant
    recipe: str
    verdicts: dict[str, Verdict]
    seconds: float = 0.0

    @property
    def worst(self) -> Verdict:
        order = (FAULT, RIGHT, REFUSED)
        return min(self.verdicts.values(), key=lambda one: order.index(one.what))


def trial(variant: Variant, room: Path, processes: Processes) -> Found:
    """Tries a variant in a folder of its own under `room`, which holds the bases and the cache."""
    place = room / f"variant-{variant.number}"
    place.mkdir()
    began = time.perf_counter()
    try:
        path, recipe = processes.call(_made, variant.number, variant.seed, room / "bases", place)
        ways = _ways(variant)
        tried = _each(processes, _tried, [(path, way, room) for way in ways])
        asked = [one[0] for one in tried if not isinstance(one, str) and one[0].tokens]
        answers = iter(
            _each(processes, _answered, [(path, given, str(room / "bases" / variant.base)) for given in asked])
        )
        verdicts = {way: _verdict(variant, path, way, one, answers) for way, one in zip(ways, tried, strict=True)}
        if (place / RAN).exists():
            verdicts["program"] = Verdict(FAULT, "a program in the files has run")
        return Found(variant, recipe, verdicts, time.perf_counter() - began)
    except CutShortError as error:
        return Found(variant, "?", {"making": Verdict(FAULT, f"the variant could not be made: {error}")})
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _ways(variant: Variant) -> list[str]:
    """The precisions of two loads each, and for some variants the command line."""
    second = "gguf" if variant.base == bases.FILES[0] else "float16" if variant.own else "auto"
    return ["float32", second, *[COMMAND] * (variant.number % EVERY == 0)]


def _each(processes: Processes, work: Callable[..., Any], all_given: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What `work` makes of each, in one process; in one each where that ends early, and then why it did, as text."""
    try:
        return list(processes.call(_in_turn, work, all_given)) if all_given else []
    except CutShortError as error:
        return [str(error)] if len(all_given) == 1 else [_each(processes, work, [given])[0] for given in all_given]


def _in_turn(work: Callable[..., Any], all_given: Sequence[tuple[Any, ...]]) -> list[Any]:
    _quiet()
    return [work(*given) for given in all_given]


def _made(number: int, seed: int, base: Path, place: Path) -> tuple[str, str]:
    _quiet()
    return variant_of(number, seed).make(base, place)


def _tried(path: str, way: str, room: Path) -> tuple[Given, Given]:
    """Twice, or once through the command line."""
    if way == COMMAND:
        given = command(path, room / "data")
        return given, given
    return attempt(path, way, room / "cache"), attempt(path, way, room / "cache")


def _answered(path: str, given: Given, undamaged: str) -> Answer:
    return answer(path, given, undamaged)


def _verdict(variant: Variant, path: str, way: str, tried: Any, answers: Iterator[Any]) -> Verdict:
    if isinstance(tried, str):
        return Verdict(FAULT, tried)
    given, again = tried
    if way == COMMAND:
        wrong = given.fault or (sentence_fault(given.sentence) if given.sentence else "")
        return Verdict(FAULT, wrong) if wrong else Verdict(REFUSED if given.sentence else RIGHT, given.sentence)
    told = next(answers) if given.tokens else None
    told = Answer(refused=told) if isinstance(told, str) else told
    kind = variant.kind
    if way == "float16" and "choose auto, float32" in given.sentence and kind.may == RIGHT:
        kind = replace(kind, may=REFUSED)
    return verdict(kind, given, again, told, path.lower().endswith(".gguf"))


@contextmanager
def silence() -> Iterator[None]:
    """What is printed inside goes nowhere."""
    kept = os.dup(1), os.dup(2)
    _quiet()
    try:
        yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)


def _quiet() -> None:
    """What libraries print goes nowhere; the command line's own output is caught before it gets there."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def prepared(room: Path) -> None:
    """The undamaged models, in a process's time."""
    _quiet()
    bases.make(room / "bases")
