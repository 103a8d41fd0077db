"""The benchmarks' command: one interface, tables that say what the JSON says, one sentence for what cannot be done."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from benchmarks import engine, families, shared, visitors
from benchmarks.measure.asked import Asked
from benchmarks.measure.result import Result, Table, target
from benchmarks.measure.rounds import Spread, in_turns, ratios
from benchmarks.measure.worker import Found
from benchmarks.yardsticks.llama_cpp import MISSING
from models import machine
from models.precision import KEPT
from playground import bench, parts
from playground.__main__ import main
from playground.config import Settings
from tests.tiny_lm import TinyLM

NAMES = (
    "database",
    "engine",
    "families",
    "loading",
    "memory",
    "policies",
    "precision",
    "shared",
    "startup",
    "training",
    "visitors",
)


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: TinyLM(end_bias=-99.0))


def tables(text: str) -> list[list[dict[str, str]]]:
    """Every Markdown table of a printed result as rows of cells by column."""
    found: list[list[dict[str, str]]] = []
    for block in text.split("\n\n"):
        lines = [line.strip("| ").split("|") for line in block.splitlines() if line.startswith("|")]
        if lines:
            head, _, *rows = [[cell.strip() for cell in line] for line in lines]
            found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def agrees(cell: str, value: object) -> bool:
    """Whether a printed cell says what the JSON value says, to the cell's own digits."""
    if isinstance(value, dict):
        numbers = [value["median"], value["low"], value["high"]] if value["rounds"] > 1 else [value["median"]]
        return all(agrees(*pair) for pair in zip(re.findall(r"[\d.]+", cell), numbers, strict=True))
    if isinstance(value, bool):
        return cell == ("yes" if value else "no")
    if value is None or isinstance(value, str):
        return cell == (value or "–")
    digits = len(cell.partition(".")[2])
    return abs(float(cell) - float(value)) <= 0.5001 * 10**-digits  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny_model")
def test_the_printed_tables_say_what_the_json_line_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.jsonl"
    command = ["bench", "database", "--quick", "--json", str(out), "--data-folder", str(tmp_path / "data")]
    assert main(command, {}) == 0
    text = capsys.readouterr().out
    *_, line = text.split("\n\n")
    assert out.read_text(encoding="utf-8") == line.strip() + "\n"
    record = json.loads(line)
    assert (record["format"], record["benchmark"]) == ("benchmark/1", "database")
    assert record["how"]["rounds"] == 5
    assert {"model", "precision", "threads", "torch", "processor"} <= record["how"].keys()
    printed, stored = tables(text), list(record["tables"].values())
    assert len(printed) == len(stored) == 2
    for cells, rows in zip(printed, stored, strict=True):
        assert len(cells) == len(rows)
        for cell, row in zip(cells, rows, strict=True):
            assert row.keys() <= cell.keys()
            assert all(agrees(cell[name], value) for name, value in row.items()), (cell, row)
            assert all(cell[name] == "–" for name in cell.keys() - row.keys())
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.usefixtures("tiny_model")
def test_visitors_of_one_batch_get_their_own_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "PRECISIONS", {"default": 1.4})
    result = visitors.run(Asked(Settings(data_folder=tmp_path), quick=True))
    (row,) = result.tables[0].rows
    assert row["lanes changed"] == 0
    assert isinstance(row["lowest share"], Spread)
    assert 0 <= row["lowest share"].median <= 1  # 0 where the machine is too busy to give a visitor a turn meanwhile
    assert json.loads(result.line())["how"]["visitors"] == 8


def halted(*processes: psutil.Process) -> None:
    """Returns when all are; a signal takes its time on a busy machine."""
    while any(process.status() != psutil.STATUS_STOPPED for process in processes):
        time.sleep(0.01)


@pytest.mark.skipif(len(machine.cores()) < 2, reason="there is one such program for each core")
def test_a_busy_neighbour_runs_only_while_it_is_wanted() -> None:
    with ExitStack() as stack:
        neighbours = shared._neighbours(stack, Asked(Settings(), quick=True), Settings())
        first, second = neighbours.spinning[:2]
        halted(first, second)
        with neighbours.beside(shared.ALONE):
            halted(first, second)
        before = first.cpu_times().user
        with neighbours.beside(shared.ONE):
            halted(second)
            while first.cpu_times().user == before:
                time.sleep(0.01)
        halted(first, second)
    assert not any(process.is_running() for process in neighbours.spinning)


def test_a_first_start_finds_the_model_and_no_measurement(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("model", KEPT):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_text(name)
    with shared._forgetful(Settings(cache_folder=cache)) as forgetful:
        assert [path.name for path in forgetful.iterdir()] == ["model"]
        assert (forgetful / "model" / "file").read_text() == "model"
        (forgetful / KEPT).mkdir()
    assert (cache / KEPT / "file").exists()
    assert (cache / "model" / "file").exists()


def test_figures_beside_others_are_ratios_to_the_same_round_alone() -> None:
    alone = [Found(2.0, "gguf", (90.0, 100.0, 110.0), (2, 2, 2)), Found(4.0, "gguf", (50.0,), (2,))]
    one = [Found(3.0, "gguf", (60.0,), (1,)), Found(5.0, "gguf", (30.0,), (1,))]
    before = [Found(2.0, "gguf", (100.0,), (0,)), Found(4.0, "gguf", (40.0,), (0,))]
    found = {shared.ALONE: alone, shared.ONE: one, shared.BEFORE: before, shared.BEFORE_ONE: one}
    row = shared._beside(found).rows[1]
    assert (row["load ÷ alone"], row["tokens/s ÷ alone"]) == (Spread(1.375, 1.25, 1.5, 2), Spread(0.6, 0.6, 0.6, 2))
    assert (row["load met"], row["tokens/s met"]) == (True, True)
    assert shared._before(found).rows[0] == {
        "beside": shared.ALONE, "tokens/s ÷ before": Spread(1.125, 1.0, 1.25, 2), "target": "≥ 0.97", "met": True,
    }  # fmt: skip
    assert [row["all"] for row in shared._choices(["gguf", "float16", "gguf"]).rows] == [False, False]
    assert shared._choices(["gguf"] * 3).rows == [{"precision": "gguf", "starts": 3, "all": True}]


def test_every_benchmark_has_a_title_and_the_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list"], {}) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert set(NAMES) <= found.keys()
    assert all(len(title) > 20 for title in found.values())


def test_an_unknown_name_is_one_sentence_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "database", "engin"], {}) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("There is no benchmark 'engin'; choose from ")
    assert all(name in printed.err for name in NAMES)
    assert len(printed.err.splitlines()) == 1


def test_an_app_installed_without_the_benchmarks_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "benchmarks")
    assert main(["bench"], {}) == 2
    assert "run them from the repository" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "database", "--json", str(tmp_path / "no" / "file")], {}) == 2
    assert "choose another --json" in capsys.readouterr().err


def test_what_a_benchmark_found_that_must_not_be_ends_the_command_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(families, "run", lambda asked: Result("families", {}, [], ["Told."], failed="One is wrong."))
    assert main(["bench", "families", "--data-folder", str(tmp_path)], {}) == 2
    printed = capsys.readouterr()
    assert "Told." in printed.out
    assert printed.err == "One is wrong.\n"


def test_a_missing_llama_cpp_is_one_sentence_of_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert engine.llama_cpp(Asked(Settings(model=str(tmp_path / "some.gguf")))) == (None, MISSING)


def test_a_llama_cpp_that_cannot_serve_the_file_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise RuntimeError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server, note = engine.llama_cpp(Asked(Settings(model=str(tmp_path / "some.gguf"))))
    assert server is None
    assert note == "llama.cpp was not measured: its process ended with 1."


def test_a_model_without_a_gguf_file_is_not_compared_with_llama_cpp(tmp_path: Path) -> None:
    server, note = engine.llama_cpp(Asked(Settings(model=str(tmp_path))))
    assert server is None
    assert "GGUF" in note


def test_rounds_go_over_all_sides_and_turn_round() -> None:
    calls: list[str] = []

    def side(name: str, value: float) -> float:
        calls.append(name)
        return value

    found = in_turns({"a": lambda n: side("a", n + 1.0), "b": lambda n: side("b", 2.0 * (n + 1))}, 3)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1.0, 2.0, 3.0], "b": [2.0, 4.0, 6.0]}
    assert ratios(found["b"], found["a"]) == Spread(2.0, 2.0, 2.0, 3)


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_a_ratio_of_medians() -> None:
    assert ratios([1.0, 8.0, 3.0], [1.0, 2.0, 6.0]).median == 1.0
    assert ratios([1.0, 8.0, 3.0], [1.0, 2.0, 6.0]).shown() == "1.00 (0.50–4.00)"


def test_a_target_is_met_by_the_median() -> None:
    assert target(Spread(1.5, 1.0, 2.0, 5), least=1.4) == {"target": "≥ 1.4", "met": True}
    assert target(Spread(1.11, 1.0, 2.0, 5), most=1.1) == {"target": "≤ 1.1", "met": False}


def test_a_value_that_a_row_lacks_is_a_dash() -> None:
    table = Table("T", {"what": "", "seconds": ".1f"}, [{"what": "a", "seconds": 1.25}, {"what": "b"}])
    assert tables(table.text()) == [[{"what": "a", "seconds": "1.2"}, {"what": "b", "seconds": "–"}]]
    assert json.loads(Result("x", {}, [table]).line())["tables"]["T"][1] == {"what": "b"}
