"""Imported once by the process that all others begin from: what libraries import and build at first use is there then."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import torch

from benchmarks.damage import bases, references, trials
from benchmarks.damage.attempt import attempt, command
from benchmarks.damage.variants import KINDS

assert KINDS
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # no thread may be left that a new process would wait for
torch.set_num_threads(1)
with contextlib.suppress(ImportError):
    import xllamacpp  # noqa: F401


def _warm(room: Path) -> None:
    bases.make(room)
    for name in (*bases.FOLDERS, bases.FILES[0]):
        given = attempt(str(room / name), "float32", room / "cache")
        if given.tokens and name in bases.FOLDERS:
            references.answer(str(room / name), given, str(room / name))
    attempt(str(room / "llama"), "float16", room / "cache")
    command(str(room / "llama"), room / "data")


with tempfile.TemporaryDirectory() as folder, trials.silence():
    _warm(Path(folder))
