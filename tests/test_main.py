"""The command line: traces and nothing else on stdout, and for bad input exit 2 with one sentence."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.language_model import LanguageModel
from playground import parts
from playground.__main__ import main
from playground.decoding.trace import Trace
from playground.training import commands
from playground.training.labels import candidates
from tests.tiny_lm import TinyLM

ROOT = Path(__file__).resolve().parent.parent
LANES = ["--policy", "fixed:temperature=0.7", "--policy", "edt:t0=1.1,theta=0.5", "--policy", "edt"]
ASK = ["generate", "--prompt", "Name three rivers.", "--seed", "3", "--max-tokens", "12", "--json", *LANES]


def traces(out: str) -> list[Trace]:
    return [Trace.from_record(json.loads(line)) for line in out.splitlines()]


def without_timings(out: str) -> list[dict[str, object]]:
    return [{**json.loads(line), "timings": {}} for line in out.splitlines()]


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: TinyLM(end_bias=-99.0))


def test_generate_prints_one_trace_a_lane_in_order_and_nothing_else(
    embedded_model: LanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once as a user runs it, once in this process: the same seed gives the same lines."""
    command = [sys.executable, "-m", "playground", *ASK, "--precision", "float32"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lanes = traces(done.stdout)
    assert [lane.policy.partition(":")[0] for lane in lanes] == ["fixed", "edt", "edt"]
    assert {step.temperature for step in lanes[0].steps} == {0.7}
    for lane, (t0, theta) in zip(lanes[1:], [(1.1, 0.5), (1.0, 1.0)], strict=True):
        assert lane.steps
        for step in lane.steps:
            assert step.temperature == pytest.approx(t0 * 0.8 ** (theta / step.entropy), abs=1e-4)
    monkeypatch.setattr(parts, "load_language_model", lambda *_: embedded_model)
    assert main(ASK, {}) == 0
    here = capsys.readouterr()
    assert here.err == ""
    assert [lane.token_ids for lane in traces(here.out)] == [lane.token_ids for lane in lanes]


@pytest.mark.usefixtures("tiny_model")
def test_the_same_seed_prints_the_same_lines_and_another_seed_others(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for seed in ("3", "3", "4"):
        assert main([seed if word == "3" else word for word in ASK], {}) == 0
        lines.append(without_timings(capsys.readouterr().out))
    assert lines[0] == lines[1] != lines[2]


@pytest.mark.usefixtures("tiny_model")
def test_without_json_the_replies_are_printed_without_escapes_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([word for word in ASK if word != "--json"], {}) == 0
    out = capsys.readouterr().out
    assert out.count("tokens/s") == 3
    assert "\x1b" not in out


def a_text_file(folder: Path) -> Path:
    (folder / "votes").write_text("not a database\n" * 100)
    return folder / "votes"


def an_empty_file(folder: Path) -> Path:
    (folder / "votes").write_bytes(b"")
    return folder / "votes"


def another_programs_database(folder: Path) -> Path:
    with sqlite3.connect(folder / "votes") as connection:
        connection.execute("CREATE TABLE moz_places (url TEXT)")
    connection.close()
    return folder / "votes"


def a_folder(folder: Path) -> Path:
    return folder


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that exits with 2."""
    try:
        code: object = main(arguments, {})
    except SystemExit as stopped:
        code = stopped.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert "Traceback" not in line
    assert len(line) < 700
    return line


@pytest.mark.usefixtures("tiny_model")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--prompt", ""], "must not be empty"),
        (["--prompt", " \n\t"], "must not be empty"),
        (["--prompt", "a\x1b[2Jb"], "control characters"),
        (["--system", "a\x00b"], "control characters"),
        (["--policy", "fixd"], "did you mean 'fixed'?"),
        (["--policy", "fixed:temprature=1"], "did you mean 'temperature'?"),
        (["--policy", "fixed:temperature=9"], "from 0 to 5"),
        (["--policy", "fixed:" + "x" * 100_000], "is not key=value"),
        (["--policy", "shuffled"], "No trained head fits"),
        (["--policy", "shuffled:of=9"], "another lane that decides by itself"),
        (["--policy", "adaptive-token:checkpoint=nope"], "no checkpoint 'nope'"),
        (["--seed", "-1"], "whole number from 0"),
        (["--seed", "one"], "--seed"),
        (["--max-tokens", "0"], "at least 1"),
        (["--stop", ""], "must not be an empty string"),
        (["--noise", "loud"], "--noise"),
        (["--checkpoints", "/no/such/folder"], "must be an existing folder"),
    ],
)
def test_bad_input_exits_with_two_and_one_sentence(
    change: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refused([*ASK, *change], capsys)


def test_a_prompt_longer_than_the_context_is_refused(
    embedded_model: LanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: embedded_model)
    assert "shorten the prompt" in refused([*ASK, "--prompt", "word " * 20_000], capsys)


@pytest.mark.parametrize("damage", [a_text_file, an_empty_file, another_programs_database, a_folder])
def test_a_database_that_cannot_be_used_is_refused(
    damage: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{damage(tmp_path)}"
    out = tmp_path / "votes.jsonl"
    command = ["export", "--format", "lpo", "--out", str(out), "--database-url", url, "--data-folder", str(tmp_path)]
    assert refused(command, capsys)
    assert not out.exists()


def test_an_export_to_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "--format", "lpo", "--out", str(tmp_path / "no" / "x"), "--data-folder", str(tmp_path / "d")]
    assert "choose another --out" in refused(command, capsys)


def a_folder_within(folder: Path) -> Path:
    (folder / "within").mkdir()
    return folder / "within"


def below_a_file(folder: Path) -> Path:
    return an_empty_file(folder) / "x"


@pytest.mark.parametrize("place", [a_folder_within, below_a_file])
@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--prompts", "playground/prompts/stories.json", "--reward", "fewer-repeats", "--limit", "1"],
        ["sample", "--suite", "minimal-pairs", "--limit", "1"],
        ["scores", "--suite", "minimal-pairs"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_table_or_label_file_that_cannot_be_written_is_refused(
    command: list[str],
    place: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(commands, "load_model", lambda settings: TinyLM(end_bias=-99.0))
    path = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert str(tmp_path) in refused([*command, "--out", str(path)], capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cache_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, labels, cache = TinyLM(end_bias=-99.0), tmp_path / "labels.jsonl", below_a_file(tmp_path)
    monkeypatch.setattr(commands, "load_model", lambda settings: tiny)
    asked = [{"id": f"p{i}", "split": "train", "prompt": f"Prompt {i}?", "answers": list("abcdef")} for i in range(4)]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    sampled = {"level": "sequence", "n": 12, "pairs": 4, "max_tokens": 12}
    assert candidates.run(tiny, tmp_path / "asked.json", "contains-answer", labels, **sampled)["pairs"]
    command = ["train", "--data", str(labels), "--level", "sequence", "--out", "x", "--folder", str(tmp_path / "heads")]
    assert main([*command, "--cache-folder", str(cache)], {}) == 2
    assert str(cache) in capsys.readouterr().err.splitlines()[-1]  # below the bars of progress


def test_a_folder_of_a_reproduction_below_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["reproduce", "--data", str(tmp_path), "--out", str(below_a_file(tmp_path)), "--only", "tempnet"]
    assert "that the command can use" in refused(command, capsys)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "The system refused what the command needs: No space left on device."),
        (ConnectionError("no route\nto host"), "The system refused what the command needs: no route to host."),
        (PermissionError(13, "Permission denied", "votes"), "; votes is not: Permission denied."),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    error: OSError, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(parts, "load_language_model", fails)
    assert refused(ASK, capsys).endswith(says)


def test_a_real_process_refuses_with_two_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "playground", *ASK, "--model", str(tmp_path / "missing")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "There is no model folder" in done.stderr
