"""What a run was measured on: threads, versions, processor; and the memory's read bandwidth."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure.result import Value
from models.machine import processor


def conditions(*packages: str, model: Any = None, **sizes: Value) -> dict[str, Value]:
    """What every benchmark prints: the model and its precision, rounds and other sizes, threads, load and versions.

    The load is the system's mean over the last minute, this run included; on a machine that is not idle only ratios
    count.
    """
    named: dict[str, Value] = {} if model is None else {"model": model.name, "precision": model.precision}
    versions = {name: version(name) for name in packages}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        **named,
        **{name.replace("_", " "): size for name, size in sizes.items()},
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "load": load,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **versions,
    }


def read_bandwidth(rounds: int = 12, megabytes: int = 512) -> float:
    """Bytes a second at which all threads read memory: the best of `rounds` sums over a block no cache holds."""
    block = torch.ones(megabytes * 2**20 // 4, dtype=torch.float32)
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        block.sum()
        seconds.append(time.perf_counter() - began)
    return block.numel() * 4 / min(seconds)


def resident_bytes() -> int:
    """Memory that this process holds now (its resident set). Raises OSError where the system does not tell."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
