"""Loading and decoding beside other busy programs: one, one for each core, a second playground; and alone.

Every figure is of a process of its own, with no memory of an earlier measurement of the precision, as at the first start
on a machine: seconds from the call that loads the model until all parts are there, and tokens a second over whole requests
of two lanes, the median of some bursts. A round goes over all situations; a ratio is to the same round's figure alone.
A busy program is a loop that never waits; the second playground decodes without end; neighbours are halted while they are not
wanted. "as before" takes every core's thread whatever others do, and OpenMP's own waits.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measure import worker
from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value, target
from benchmarks.measure.rounds import Spread, in_turns, ratios
from models import machine
from models.precision import KEPT
from playground.config import Settings
from playground.openmp import CHOSEN

TITLE = "loading and decoding beside busy programs and a second playground, beside the same alone"
ALONE, ONE, EVERY, SECOND = "alone", "one busy program", "a busy program for each core", "a second playground"
BEFORE, BEFORE_ONE = "alone, as before", "one busy program, as before"
SPIN = "while True: pass"
MOST_LOAD, LEAST_RATE, LEAST_ALONE = 1.5, 0.4, 0.97
STARTS, AT_ONCE = 20, 2
CHOICE = """
import sys
from pathlib import Path
from models.loading import load_language_model
print(load_language_model(sys.argv[1], cache=Path(sys.argv[2])).precision)
"""

Sides = dict[str, list[worker.Found]]


@dataclass(frozen=True)
class Neighbours:
    """Processes that compete for the cores, halted but for those asked for."""

    spinning: Sequence[psutil.Process]
    playground: psutil.Process | None

    @contextmanager
    def beside(self, situation: str) -> Iterator[None]:
        wanted = {ONE: 1, BEFORE_ONE: 1, EVERY: len(self.spinning)}.get(situation, 0)
        awake = [*self.spinning[:wanted], *([self.playground] if situation == SECOND and self.playground else [])]
        for process in awake:
            process.resume()
        try:
            yield
        finally:
            for process in awake:
                process.suspend()


def run(asked: Asked) -> Result:
    rounds, bursts, starts = asked.size(3, 1), asked.size(3, 2), asked.size(STARTS, 4)
    situations = [ALONE, ONE, BEFORE, BEFORE_ONE] + asked.size(1, 0) * [EVERY, SECOND]
    with ExitStack() as stack:
        settings = replace(asked.settings, cache_folder=stack.enter_context(_forgetful(asked.settings)))
        plan = {"tokens": asked.size(64, 48), "bursts": bursts}
        worker.found(worker.started({**plan, "bursts": 1}, settings, os.environ))  # fetches, converts, compiles
        asked.progress("loaded once")
        neighbours = _neighbours(stack, asked, settings)
        measures = {name: partial(_measured, neighbours, name, plan, settings, asked) for name in situations}
        found: Sides = in_turns(measures, rounds)
        chosen = _starts(neighbours, settings, starts, asked)
    tables = [_beside(found), _before(found), _choices(chosen)]
    how = conditions(rounds=rounds, bursts=bursts, tokens_a_lane=plan["tokens"], lanes=len(worker.SPECS))
    how["precision"] = found[ALONE][0].precision
    notes = [
        f"Asked for beside {ONE}: loading at most {MOST_LOAD:g} times, tokens a second at least {LEAST_RATE:g} times what they are "
        f"alone, and one precision in {STARTS} starts; alone, at least {LEAST_ALONE:g} of the tokens a second of before."
    ]
    return Result("shared", how, tables, notes)


@contextmanager
def _forgetful(settings: Settings) -> Iterator[Path]:
    """A cache folder that has all of the user's but what is remembered of measurements."""
    settings.cache_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for path in settings.cache_folder.iterdir():
            if path.name != KEPT:
                (Path(scratch) / path.name).symlink_to(path.resolve())
        yield Path(scratch)


def _neighbours(stack: ExitStack, asked: Asked, settings: Settings) -> Neighbours:
    """One spinning program for each core and, in a full run, a playground that decodes; all halted."""
    spinning = [_kept(stack, subprocess.Popen([sys.executable, "-c", SPIN])) for _ in machine.cores()]
    playground = None
    if not asked.quick:
        for process in spinning:
            process.suspend()
        decoding = worker.started({"tokens": 256}, settings, os.environ)
        playground = _kept(stack, decoding)
        assert decoding.stdout is not None
        decoding.stdout.readline()
        asked.progress("the second playground is loaded")
        playground.suspend()
    for process in spinning:
        process.suspend()
    return Neighbours(spinning, playground)


def _kept(stack: ExitStack, process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> psutil.Process:
    stack.callback(process.wait)
    stack.callback(process.kill)
    return psutil.Process(process.pid)


def _measured(
    neighbours: Neighbours, situation: str, plan: Mapping[str, int], settings: Settings, asked: Asked, number: int
) -> worker.Found:
    environment: Mapping[str, str] = os.environ
    if situation in (BEFORE, BEFORE_ONE):
        environment = {name: value for name, value in os.environ.items() if name not in CHOSEN}
        settings = replace(settings, threads=len(machine.cores()))
    shutil.rmtree(settings.cache_folder / KEPT, ignore_errors=True)
    with neighbours.beside(situation):
        result = worker.found(worker.started(plan, settings, environment))
    asked.progress(f"round {number + 1}, {situation}: load {result.load:.1f} s, {_rate(result):.0f} tokens/s")
    return result


def _starts(neighbours: Neighbours, settings: Settings, starts: int, asked: Asked) -> list[str]:
    """The precision that each of some processes chooses beside one busy program, two at a time, each with an empty memory."""
    chosen = []
    with neighbours.beside(ONE):
        for first in range(0, starts, AT_ONCE):
            with ExitStack() as stack:
                caches = [stack.enter_context(_forgetful(settings)) for _ in range(min(AT_ONCE, starts - first))]
                commands = [[sys.executable, "-c", CHOICE, settings.model, str(cache)] for cache in caches]
                pair = [subprocess.Popen(each, cwd=worker.ROOT, stdout=subprocess.PIPE, text=True) for each in commands]
                chosen += [process.communicate()[0].strip() or "none" for process in pair]
    asked.progress(f"{starts} starts beside {ONE}")
    return chosen


def _rate(found: worker.Found) -> float:
    return statistics.median(found.rates)


def _beside(found: Sides) -> Table:
    rows = []
    for name, sides in found.items():
        loads, rates = ratios(*_pair(found, name, lambda side: side.load)), ratios(*_pair(found, name, _rate))
        row: dict[str, Value] = {
            "beside": name,
            "load s": Spread.of([side.load for side in sides]),
            "load ÷ alone": loads,
            "tokens/s": Spread.of([_rate(side) for side in sides]),
            "tokens/s ÷ alone": rates,
            "threads": Spread.of([side.threads[-1] for side in sides]) if sides[0].threads[-1] else None,
        }
        if name == ONE:
            row |= {f"load {key}": value for key, value in target(loads, most=MOST_LOAD).items()}
            row |= {f"tokens/s {key}": value for key, value in target(rates, least=LEAST_RATE).items()}
        rows.append(row)
    columns = {"beside": "", "load s": ".1f", "load ÷ alone": ".2f", "load target": "", "load met": ""}
    columns |= {
        "tokens/s": ".0f",
        "tokens/s ÷ alone": ".2f",
        "tokens/s target": "",
        "tokens/s met": "",
        "threads": ".0f",
    }
    return Table("Beside other programs", columns, rows)


def _before(found: Sides) -> Table:
    """Tokens a second over those of before, in the same situation and round."""
    rows: list[dict[str, Value]] = []
    for now, before in ((ALONE, BEFORE), (ONE, BEFORE_ONE)):
        ratio = ratios([_rate(side) for side in found[now]], [_rate(side) for side in found[before]])
        rows.append({"beside": now, "tokens/s ÷ before": ratio})
        rows[-1] |= target(ratio, least=LEAST_ALONE) if now == ALONE else {}
    return Table("Beside what it was", {"beside": "", "tokens/s ÷ before": ".2f", "target": "", "met": ""}, rows)


def _choices(chosen: Sequence[str]) -> Table:
    counts = Counter(chosen)
    rows: list[dict[str, Value]] = [
        {"precision": name, "starts": count, "all": len(counts) == 1} for name, count in counts.most_common()
    ]
    return Table("Precision chosen", {"precision": "", "starts": "d", "all": ""}, rows)


def _pair(found: Sides, name: str, figure: Callable[[worker.Found], float]) -> tuple[list[float], list[float]]:
    return [figure(side) for side in found[name]], [figure(side) for side in found[ALONE]]
