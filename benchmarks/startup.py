"""How long `python app.py` takes to answer, first and later, beside importing the libraries and a bare from_pretrained.

    python benchmarks/startup.py [--repeats 3]

Each line is a process of its own, in one run; the table gives medians and ratios, the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = "import torch, transformers, gradio"
LOAD = (
    "from transformers import AutoModelForCausalLM, AutoTokenizer; AutoTokenizer.from_pretrained({folder!r});"
    "AutoModelForCausalLM.from_pretrained({folder!r}, dtype=torch.float32)"
)


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
                time.sleep(0.05)
        raise RuntimeError("app.py ended before it answered")
    finally:
        app.terminate()
        app.wait()


def main() -> None:
    """Measure, print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    scratch = Path(tempfile.mkdtemp())
    try:
        cache = scratch / "cache"
        rows = {"first start (fetch, convert, page)": [seconds_to_page(cache, scratch / "data")]}
        folder = str(next(cache.glob("*/*/config.json")).parent)
        kinds = {
            "import torch, transformers, gradio": lambda: seconds_of(IMPORTS),
            "imports and a bare from_pretrained": lambda: seconds_of(IMPORTS + ";" + LOAD.format(folder=folder)),
            "later start (page)": lambda: seconds_to_page(cache, scratch / "data"),
        }
        for _ in range(repeats):
            for name, measure in kinds.items():
                rows.setdefault(name, []).append(measure())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    medians = {name: statistics.median(values) for name, values in rows.items()}
    imports, bare = (medians[name] for name in list(kinds)[:2])
    print(f"{os.cpu_count()} cores, medians of {repeats} (first start once), alternating, one run")
    print("| | seconds | ratio to imports | ratio to imports and from_pretrained |\n|---|---|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:.1f} | {value / imports:.2f} | {value / bare:.2f} |")
    print(json.dumps({"benchmark": "startup", "repeats": repeats, "seconds": rows}))


if __name__ == "__main__":
    main()
