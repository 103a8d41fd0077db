"""The compiled loops of the decoding and of the heads, ready before anybody waits for them.

What was just compiled rounds a sum otherwise than the same code out of Numba's cache (seen with Numba 0.68.1; LOG.md,
2026-11-22). So where nothing says that the cache holds the loops as they are now, a process of its own compiles first:
every process that decodes then loads the same code and gets the same bits.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numba
import torch
from llvmlite.binding import get_host_cpu_name

from models import adaptive_decoder
from models.adaptive_decoder import AdaptiveDecoder, Head
from playground.decoding import kernels
from playground.decoding.distribution import BLOCK, Distribution, column, row_sums

SOURCES = (kernels.__file__, adaptive_decoder.__file__)
ROOT = Path(__file__).resolve().parent.parent


def compile_loops() -> None:
    """Runs every loop once: some ten seconds where nothing is compiled yet, then a quarter of one."""
    mark = compiled_mark()
    if not mark.exists():
        done = subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, check=False, capture_output=True)
        if done.returncode == 0:
            mark.touch()
    run_loops()


def compiled_mark() -> Path:
    """The file that lies beside Numba's cache once it holds these loops, for this processor, Python and Numba."""
    sources = b"".join(Path(source).read_bytes() for source in SOURCES)
    made_by = f"{numba.__version__} {sys.implementation.cache_tag} {get_host_cpu_name()}"
    digest = hashlib.sha256(made_by.encode() + sources).hexdigest()
    return Path(kernels.add_up.stats.cache_path) / f"compiled-{digest[:16]}"


def run_loops() -> None:
    """Every loop on a row of nothing."""
    now = Distribution(torch.zeros(1, BLOCK)).tempered(column([0.5]))
    now.draw(column([0.5]))
    now.prob(now.largest(1)[0])
    now.keeping(now.weights).kept([0])
    row_sums(column(now.possible)[:, None].float())
    row_sums(now.varentropy[:, None].float())
    with torch.random.fork_rng(devices=[]):
        Head(AdaptiveDecoder(4, 2, width=8))(torch.zeros(1, 4))


if __name__ == "__main__":
    run_loops()
