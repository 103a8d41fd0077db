"""One variant from its files to its verdicts: two loads in each of two precisions, its reference, and the command line."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.damage import bases
from benchmarks.damage.attempt import Given, attempt, command
from benchmarks.damage.judge import FAULT, Verdict, sentence_fault, verdict
from benchmarks.damage.kind import REFUSED, RIGHT
from benchmarks.damage.odd_kinds import RAN
from benchmarks.damage.processes import CutShortError, Processes
from benchmarks.damage.references import Answer, answer
from benchmarks.damage.variants import Variant
from benchmarks.damage.variants import variant as variant_of

EVERY = 4  # of so many variants, one is also tried through the command line


@dataclass(frozen=True)
class Found:
    """A variant, what was done to it, and the worst that came of it by each way in."""

    variant: Variant
    recipe: str
    verdicts: dict[str, Verdict]

    @property
    def worst(self) -> Verdict:
        order = (FAULT, RIGHT, REFUSED)
        return min(self.verdicts.values(), key=lambda one: order.index(one.what))


def trial(variant: Variant, room: Path, processes: Processes) -> Found:
    """Tries a variant in a folder of its own under `room`, which holds the bases and the cache."""
    place = room / f"variant-{variant.number}"
    place.mkdir()
    try:
        path, recipe = processes.call(_made, variant.number, variant.seed, room / "bases", place)
        verdicts = {precision: _verdict(variant, path, precision, room, processes) for precision in _precisions(variant)}
        if variant.number % EVERY == 0:
            verdicts["command line"] = _through_the_command_line(variant, path, room, processes)
        if (place / RAN).exists():
            verdicts["program"] = Verdict(FAULT, "a program in the files has run")
        return Found(variant, recipe, verdicts)
    except CutShortError as error:
        return Found(variant, "?", {"making": Verdict(FAULT, f"the variant could not be made: {error}")})
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _precisions(variant: Variant) -> tuple[str, str]:
    if variant.base.endswith(".gguf"):
        return "float32", "gguf"
    return ("float32", "float16") if variant.own else ("float32", "auto")


def _made(number: int, seed: int, base: Path, place: Path) -> tuple[str, str]:
    _quiet()
    return variant_of(number, seed).make(base, place)


def _tried(path: str, precision: str, cache: Path) -> tuple[Given, Given]:
    _quiet()
    return attempt(path, precision, cache), attempt(path, precision, cache)


def _through(path: str, data: Path) -> Given:
    _quiet()
    return command(path, data)


def _answered(path: str, given: Given) -> Answer:
    _quiet()
    return answer(path, given)


def _verdict(variant: Variant, path: str, precision: str, room: Path, processes: Processes) -> Verdict:
    try:
        given, again = processes.call(_tried, path, precision, room / "cache")
    except CutShortError as error:
        return Verdict(FAULT, str(error))
    told = None
    if given.tokens:
        try:
            told = processes.call(_answered, path, given)
        except CutShortError as error:
            told = Answer(refused=str(error))
    kind = variant.kind
    if precision == "float16" and "choose auto, float32" in given.sentence and kind.may == RIGHT:
        kind = replace(kind, may=REFUSED)
    return verdict(kind, given, again, told, path.lower().endswith(".gguf"))


def _through_the_command_line(variant: Variant, path: str, room: Path, processes: Processes) -> Verdict:
    try:
        given = processes.call(_through, path, room / "data")
    except CutShortError as error:
        return Verdict(FAULT, f"the command line: {error}")
    wrong = given.fault or (sentence_fault(given.sentence) if given.sentence else "")
    return Verdict(FAULT, wrong) if wrong else Verdict(REFUSED if given.sentence else RIGHT, given.sentence)


def _quiet() -> None:
    """What libraries print goes nowhere; the command line's own output is caught before it gets there."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def prepared(room: Path) -> None:
    """The undamaged models, in a process's time."""
    _quiet()
    bases.make(room / "bases")
