"""Every command that prints, in terminals of other encodings: what cannot be shown is replaced, and nothing ends in a traceback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from playground.__main__ import main

ROOT = Path(__file__).parents[1]
ASKED = "Répète exactement : “naïve 東京 🙂”."
GENERATE = ["generate", "--prompt", ASKED, "--prefill", "“naïve 東京 🙂 \u202e", "--policy", "fixed:temperature=0.0"]
REPEATS = ["generate", "--prompt", "Repeat.", "--prefill", "é é é é é é é é", "--policy", "fixed:temperature=0.0"]
COMMANDS = {
    "heatmap": [*REPEATS, "--max-tokens", "12"],
    "json": [*GENERATE, "--max-tokens", "8", "--json"],
    "suggest-t": [
        "suggest-t",
        "--prompt",
        ASKED,
        "--samples",
        "1",
        "--max-tokens",
        "8",
        "--temperatures",
        "0.4,0.8,1.2,1.6",
    ],
    "help": ["--help"],
    "help of generate": ["generate", "--help"],
    "help of suggest-t": ["suggest-t", "--help"],
    "help of train": ["train", "--help"],
    "help of evaluate": ["evaluate", "--help"],
    "a refusal": [*GENERATE, "--max-tokens", "8", "--policy", "édt\u202e"],
}


def printed(command: list[str], encoding: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command whose streams have this encoding."""
    raw = [io.BytesIO(), io.BytesIO()]
    out, err = (io.TextIOWrapper(stream, encoding=encoding) for stream in raw)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    environment = {"PLAYGROUND_DATA_FOLDER": str(data), "PLAYGROUND_PRECISION": "gguf"}
    try:
        code = main(command, environment)
    except SystemExit as left:
        code = int(left.code or 0)
    out.flush()
    err.flush()
    monkeypatch.undo()
    return code, *(stream.getvalue().decode(encoding) for stream in raw)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [(name, "latin-1" if place % 2 else "ascii") for place, name in enumerate(COMMANDS)],
)
def test_a_command_prints_in_any_encoding(
    name: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = printed(COMMANDS[name], encoding, tmp_path, monkeypatch)
    assert "Traceback" not in err
    assert code in ((2,) if name == "a refusal" else (0, 2) if name == "suggest-t" else (0,)), err
    assert out or err
    assert "?" in out or name != "heatmap"
    if name == "json":
        (line,) = out.splitlines()
        assert json.loads(line)["prompt"] == ASKED


@pytest.mark.slow
def test_the_heatmap_is_printed_by_a_process_in_another_encoding(tmp_path: Path) -> None:
    settings = {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii", "PLAYGROUND_PRECISION": "gguf"}
    own = {**os.environ, **settings, "PLAYGROUND_DATA_FOLDER": str(tmp_path)}
    command = [sys.executable, "-m", "playground", *REPEATS, "--max-tokens", "12"]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    assert b"?" in done.stdout
    assert done.stdout.isascii()
