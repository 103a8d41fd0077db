"""What the checks of a model at load cost: loading it with them and without them, in turns.

Each figure is a process of its own that has imported its libraries and then loads the model once: its wall-clock seconds,
and its processor time, which other programs on the machine change less.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value, target
from benchmarks.measure.rounds import LEAST, Spread, in_turns, ratios
from models import embedded

TITLE = "loading a model with its checks against transformers and without them"
ROOT: Final = Path(__file__).resolve().parent.parent
BOUND: Final = 1.15
LOAD: Final = """
import json, sys, time
import torch, transformers
import models.loading as loading
from pathlib import Path
if {bare}:
    import models.sources.module as module
    from types import SimpleNamespace
    loading.reference_of = lambda config: SimpleNamespace(state_dict=dict)
    loading.fitted = lambda name, tensors, expected, tied: tensors
    loading.same_as = lambda *given: ""
    module.refuse_not_finite = module.refuse_unscaled = lambda *given: None
wall, own = time.perf_counter(), time.process_time()
loading.load_language_model({model!r}, precision={precision!r}, cache=Path({cache!r}))
print(json.dumps([time.perf_counter() - wall, time.process_time() - own]))
"""


def run(asked: Asked) -> Result:
    rounds = asked.size(LEAST, 1)
    cache, scratch = asked.settings.cache_folder, Path(tempfile.mkdtemp())
    try:
        copy = Path(shutil.copytree(embedded.folder(cache), scratch / "model"))
        cases = [("default", "embedded", precision) for precision in ("gguf", "float16", "float32")]
        cases += [("folder", str(copy), precision) for precision in ("float16", "float32")]
        rows: list[dict[str, Value]] = []
        for what, model, precision in cases if not asked.quick else cases[:1]:
            found = in_turns(
                {name: _loaded(model, precision, cache, name == "without") for name in ("with", "without")}, rounds
            )
            asked.progress(f"{what}, {precision}")
            walls, own = ({name: [pair[i] for pair in pairs] for name, pairs in found.items()} for i in (0, 1))
            rows.append(
                {
                    "model": what,
                    "precision": precision,
                    "seconds": Spread.of(walls["with"]),
                    "without": Spread.of(walls["without"]),
                    "ratio": ratios(walls["with"], walls["without"]),
                    "processor time": ratios(own["with"], own["without"]),
                }
                | target(ratios(own["with"], own["without"]), most=BOUND)
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    columns = {
        **{"model": "", "precision": "", "seconds": ".2f", "without": ".2f", "ratio": ".2f", "processor time": ".2f"},
        **{"target": "", "met": ""},
    }
    table = Table("Loading with the checks, and its ratio to loading without them", columns, rows)
    return Result("loading", conditions("transformers", rounds=rounds), [table])


def _loaded(model: str, precision: str, cache: Path, bare: bool) -> Callable[[int], tuple[float, float]]:
    """Wall-clock seconds and processor time of one load in a process of its own."""
    code = LOAD.format(model=model, precision=precision, cache=str(cache), bare=bare)

    def measure(_: int) -> tuple[float, float]:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wall, own = json.loads(done.stdout.splitlines()[-1])
        return float(wall), float(own)

    return measure
