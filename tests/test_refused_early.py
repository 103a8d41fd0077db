"""What can be judged without the language model is refused before it is loaded, which takes half a minute on a slow machine."""

from __future__ import annotations

import json
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from playground import parts
from playground.__main__ import main
from playground.training import commands

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("the model is loaded before the refusal")

    for module in (parts, commands):
        monkeypatch.setattr(module, "load_language_model", load)


def test_the_app_judges_its_database_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "votes.sqlite3").write_bytes(b"no database")
    monkeypatch.setenv("PLAYGROUND_DATABASE_URL", f"sqlite:///{tmp_path / 'votes.sqlite3'}")
    monkeypatch.setenv("PLAYGROUND_DATA_FOLDER", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "app.py"), run_name="app")
    assert left.value.code == 2
    assert "is not a SQLite database" in capsys.readouterr().err


def test_the_app_judges_its_folder_of_heads_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAYGROUND_CHECKPOINTS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PLAYGROUND_DATA_FOLDER", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "app.py"), run_name="app")
    assert left.value.code == 2
    assert "must be an existing folder" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "sentence"), [("127.0.0.1", "is in use"), ("203.0.113.7", "`host` must be")])
def test_the_app_judges_its_port_first(
    host: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["--host", host, "--port", str(taken.getsockname()[1]), "--data-folder", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["app.py", *words])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


TEXTS, DATA, LABELS = "texts.jsonl", "data", "labels.jsonl"
SUITE = ["--suite", "minimal-pairs"]
BEHIND_A_FILE = "file/x"
BAD: list[list[str]] = [
    ["generate", "--prompt", "a", "--policy", "fixd"],
    ["generate", "--prompt", "a", "--policy", "fixed:temperature=9"],
    ["generate", "--prompt", "a", "--policy", "adaptive-token:checkpoint=nope"],
    ["generate", "--prompt", "a", "--policy", "fixed", "--checkpoints", "nowhere"],
    ["suggest-t", "--prompts", "missing.json"],
    ["sample", "--prompts", "missing.json", "--reward", "fewer-repeats", "--out", "x.jsonl"],
    ["sample", "--prompts", "deep.json", "--reward", "fewer-repeats", "--out", "x.jsonl"],
    ["sample", "--prompts", "stories.json", "--reward", "contains-answer", "--out", "x.jsonl"],
    ["sample", "--prompts", "stories.json", "--reward", "fewer-repeats", "--out", BEHIND_A_FILE],
    ["sample", "--prompts", "stories.json", "--reward", "fewer-repeats", "--out", DATA],
    ["sample", *SUITE, "--out", BEHIND_A_FILE],
    ["sample", "--suite", "grounded-or-varied", "--data", DATA, "--out", "x.jsonl"],
    ["scores", *SUITE, "--out", BEHIND_A_FILE],
    ["train", "--data", "missing.jsonl", "--level", "token", "--loss", "separate", "--out", "x"],
    ["train", "--data", "deep.json", "--level", "token", "--loss", "separate", "--out", "x"],
    ["train", "--data", LABELS, "--level", "token", "--loss", "separate", "--out", "../x"],
    ["train", "--data", LABELS, "--level", "token", "--loss", "separate", "--out", "x", "--folder", BEHIND_A_FILE],
    ["train", "--data", LABELS, "--level", "token", "--loss", "separate", "--out", "x", "--parent", "nope"],
    ["evaluate", *SUITE, "--labels", "missing.jsonl", "--out", "x"],
    ["evaluate", *SUITE, "--labels", "deep.json", "--out", "x"],
    ["evaluate", *SUITE, "--labels", LABELS, "--out", BEHIND_A_FILE],
    ["evaluate", *SUITE, "--labels", LABELS, "--head", "nope", "--out", "x"],
    ["evaluate", *SUITE, "--labels", LABELS, "--scores", BEHIND_A_FILE, "--out", "x"],
    ["evaluate", "--suite", "repetition", "--head", "nope", "--out", "x"],
    ["evaluate", "--suite", "repetition", "--head", "adaptive-token.smollm2-135m", "--out", BEHIND_A_FILE],
    ["calibrate", "--head", "nope"],
    ["calibrate", "--head", "adaptive-token.smollm2-135m", "--prompts", "deep.json"],
    ["bootstrap", "--out", BEHIND_A_FILE],
    ["bootstrap", "--texts", "missing.jsonl", "--out", "x"],
    ["tempnet", "--texts", "missing.jsonl", "--out", "x"],
    ["auto-deco", "--texts", "deep.json", "--out", "x"],
    ["tuned-lens", "--texts", "missing.jsonl", "--layers", "3", "--out", "x"],
    ["tuned-lens", "--texts", TEXTS, "--layers", "3", "--out", "Bad Name"],
    ["auto-deco", "--texts", TEXTS, "--out", "x", "--folder", BEHIND_A_FILE],
    ["difficulty", "--prompts", "deep.json", "--out", "x"],
    ["difficulty", "--prompts", "stories.json", "--out", "../x"],
]  # fmt: skip


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_a_command_judges_heads_files_and_places_first(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stories.json").write_bytes((ROOT / "playground" / "prompts" / "stories.json").read_bytes())
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "file").write_text("")
    (tmp_path / LABELS).write_text("")
    (tmp_path / DATA).mkdir()
    texts = [{"prompt": f"Prompt {number}?", "reply": "A reply."} for number in range(40)]
    (tmp_path / TEXTS).write_text("".join(json.dumps(text) + "\n" for text in texts))
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--data-folder", str(tmp_path / "home")], {}) == 2
    error = capsys.readouterr().err.strip()
    assert error
    assert "\n" not in error
