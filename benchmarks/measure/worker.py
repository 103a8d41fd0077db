"""A process of its own that loads the model and decodes: `python -m benchmarks.measure.worker PLAN`, a JSON object.

{"settings": {…}, "tokens", "bursts"}    prints one JSON line: what loading and each burst took
{"settings": {…}, "tokens"}              prints a line when it is loaded, then decodes until it is ended
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.lanes import FIXED, decode, endless
from playground.config import Settings, settings_from
from playground.parts import load_parts

ROOT = Path(__file__).resolve().parent.parent.parent
SPECS = (FIXED, "edt")


@dataclass(frozen=True)
class Found:
    """Seconds of loading, the precision chosen, and of the bursts the tokens a second and the threads of a pass."""

    load: float
    precision: str
    rates: tuple[float, ...]
    threads: tuple[int, ...]


def started(plan: Mapping[str, Any], settings: Settings, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The process of a plan with these settings; its lines come on stdout."""
    told = {name: str(value) for name, value in vars(settings).items() if value is not None}
    command = [sys.executable, "-m", "benchmarks.measure.worker", json.dumps({**plan, "settings": told})]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=subprocess.PIPE, stderr=quiet, text=True)


def found(process: subprocess.Popen[str]) -> Found:
    """What a process with bursts says at its end. Raises RuntimeError where it says nothing."""
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a process that loads the model ended with {process.returncode}")
    values = json.loads(printed)
    return Found(values["load"], values["precision"], tuple(values["rates"]), tuple(values["threads"]))


def main(plan: Mapping[str, Any], say: Callable[[str], None]) -> None:
    began = time.perf_counter()
    parts = endless(load_parts(settings_from(plan["settings"], {})))
    load = time.perf_counter() - began
    decode(parts, SPECS, 16, 0)  # compiles and warms what loading left
    if "bursts" not in plan:
        say("loaded")
        for number in itertools.count(1):
            decode(parts, SPECS, plan["tokens"], number)
    watched = getattr(parts.language_model, "threads", None)
    rates, threads = [], []
    for number in range(1, plan["bursts"] + 1):
        rates.append(decode(parts, SPECS, plan["tokens"], number).rate)
        threads.append(0 if watched is None else watched.count)
    model = parts.language_model
    say(json.dumps({"load": load, "precision": model.precision, "rates": rates, "threads": threads}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), lambda line: print(line, flush=True))
