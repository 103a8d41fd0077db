"""How long `python app.py` takes to answer, first and later, beside importing its libraries and loading the weights.

Each figure is a process of its own, from its start: to the first answered request for the app, to its end for the
yardsticks. The first start fetches and converts the default model, so it depends on the network and runs once.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value, target
from benchmarks.measure.rounds import LEAST, Spread, in_turns, ratios
from models import embedded

TITLE = "start of the app to a ready page, beside importing the libraries and loading the weights"
ROOT = Path(__file__).resolve().parent.parent
BOUND = 1.5
IMPORTS = "import torch, transformers, gradio"
LOAD = (
    "from transformers import AutoModelForCausalLM, AutoTokenizer; AutoTokenizer.from_pretrained({folder!r});"
    "AutoModelForCausalLM.from_pretrained({folder!r}, dtype=torch.float32)"
)
APP, BARE, ONLY_IMPORTS = "start to ready page", "imports and from_pretrained", "imports"


def run(asked: Asked) -> Result:
    rounds = asked.size(LEAST, 2)
    scratch = Path(tempfile.mkdtemp())
    try:
        cache, first = asked.settings.cache_folder, []
        if not asked.quick:
            cache = scratch / "cache"
            first = [seconds_to_page(cache, scratch / "data")]
            asked.progress("first start: fetched, converted, answered")
        folder = str(embedded.folder(cache))
        seconds = in_turns(
            {
                ONLY_IMPORTS: lambda _: seconds_of(IMPORTS),
                BARE: lambda _: seconds_of(f"{IMPORTS};{LOAD.format(folder=folder)}"),
                APP: lambda _: seconds_to_page(cache, scratch / "data"),
            },
            rounds,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    rows: list[dict[str, Value]] = [
        {"what": name, "seconds": Spread.of(values), "ratio": ratios(values, seconds[BARE])}
        for name, values in seconds.items()
    ]
    rows[-1] |= target(ratios(seconds[APP], seconds[BARE]), most=BOUND)
    rows += [{"what": "first start: fetch, convert, page", "seconds": Spread.of(first)}] if first else []
    columns = {"what": "", "seconds": ".1f", "ratio": ".2f", "target": "", "met": ""}
    table = Table(f"From start to answer (ratio to {BARE})", columns, rows)
    return Result("startup", conditions("transformers", "gradio", rounds=rounds), [table])


def seconds_of(code: str) -> float:
    """Wall-clock seconds of a Python process that runs `code`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def seconds_to_page(cache: Path, data: Path) -> float:
    """Wall-clock seconds from `python app.py` to its first answered request."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--cache-folder", str(cache), "--data-folder", str(data)]
    began = time.perf_counter()
    app = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while app.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                return time.perf_counter() - began
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise RuntimeError("app.py ended before it answered")
    finally:
        app.terminate()
        app.wait()
