"""Compiled code comes out of the cache in every process, the first one too; an edit of the loops is compiled anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from playground import compiling

STATS = """
import json
from models import adaptive_decoder
from playground.compiling import compile_loops
from playground.decoding import kernels

compile_loops()
loops = [loop for module in (kernels, adaptive_decoder) for loop in vars(module).values() if hasattr(loop, "stats")]
kept = [loop.stats for loop in loops if loop.stats.cache_path]
print(json.dumps([[sum(stats.cache_hits.values()), sum(stats.cache_misses.values())] for stats in kept]))
"""


@pytest.mark.slow
def test_a_process_that_finds_an_empty_cache_compiles_nothing_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STATS],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=compiling.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    counts = json.loads(done.stdout)
    assert len(counts) >= 10
    assert all((hits, misses) == (1, 0) for hits, misses in counts), counts
    assert len(list(tmp_path.rglob("compiled-*"))) == 1


def test_edited_loops_are_not_taken_for_the_compiled_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert compiling.compiled_mark().exists(), "tests/conftest.py compiles"
    copies = [tmp_path / Path(source).name for source in compiling.SOURCES]
    for source, copy in zip(compiling.SOURCES, copies, strict=True):
        copy.write_bytes(Path(source).read_bytes())
    monkeypatch.setattr(compiling, "SOURCES", tuple(map(str, copies)))
    assert compiling.compiled_mark().exists()
    for copy in copies:
        copy.write_bytes(copy.read_bytes() + b"# edited\n")
        assert not compiling.compiled_mark().exists()
