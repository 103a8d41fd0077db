"""The precision that `auto` takes: measured within a second, once a machine, the same beside a busy program."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from models import precision
from models.llama.kernels import BLOCKS, DENSE
from models.precision import KEPT, measured

SMOL = SimpleNamespace(hidden_size=576, intermediate_size=1536)
TIMES = {"gguf": 1.0, "float16": 2.0, "bfloat16": 3.0, "float32": 9.0}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The measurements that were made, in the place of making them."""
    made: list[list[str]] = []

    def seconds(sides: object, names: list[str]) -> dict[str, float]:
        made.append(list(names))
        return {name: TIMES[name] for name in names}

    monkeypatch.setattr(precision, "seconds", seconds)
    return made


def file_in(cache: Path) -> Path:
    (file,) = (cache / KEPT).iterdir()
    return file


def test_it_is_measured_once_a_machine_and_model_shape(tmp_path: Path, runs: list[list[str]]) -> None:
    first = measured(SMOL, BLOCKS, tmp_path)
    assert first[0] == "gguf"
    assert measured(SMOL, BLOCKS, tmp_path) == first
    assert len(runs) == 1
    assert measured(SMOL, DENSE, tmp_path)[0] == "float16"  # another format
    measured(SimpleNamespace(hidden_size=640, intermediate_size=1536), BLOCKS, tmp_path)
    assert len(runs) == 3
    assert len(list((tmp_path / KEPT).iterdir())) == 3


def test_another_processor_torch_or_thread_count_is_measured_again(
    tmp_path: Path, runs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(SMOL, BLOCKS, tmp_path)
    monkeypatch.setattr(precision, "processor", lambda: "another")
    measured(SMOL, BLOCKS, tmp_path)
    monkeypatch.setattr(torch, "__version__", "99.0")
    measured(SMOL, BLOCKS, tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    measured(SMOL, BLOCKS, tmp_path)
    assert len(runs) == 4


def test_the_reason_says_how_to_measure_again(tmp_path: Path, runs: list[list[str]]) -> None:
    _, reason = measured(SMOL, BLOCKS, tmp_path)
    assert f"delete the folder {KEPT!r} in the cache folder to measure again" in reason
    assert "gguf 1000.00 ms" in reason
    assert str(tmp_path) not in reason, "a page shows it to visitors"
    file_in(tmp_path).unlink()
    (tmp_path / KEPT).rmdir()
    measured(SMOL, BLOCKS, tmp_path)
    assert len(runs) == 2


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[" * 100_000,
        b'{"depends": {}, "found": {}}',
        {"gguf": 1.0, "float16": 2.0},
        {**TIMES, "int3": 1.0},
        {**TIMES, "gguf": 0.0},
        {**TIMES, "gguf": -1.0},
        {**TIMES, "gguf": math.nan},
        {**TIMES, "gguf": math.inf},
        {**TIMES, "gguf": True},
        {**TIMES, "gguf": "1.0"},
        {**TIMES, "gguf": None},
        [1.0, 2.0, 3.0, 9.0],
        None,
    ],
    ids=str,
)
def test_a_damaged_memory_is_measured_again_and_mended(tmp_path: Path, runs: list[list[str]], damaged: object) -> None:
    expected = measured(SMOL, BLOCKS, tmp_path)
    file = file_in(tmp_path)
    sound = file.read_bytes()
    if isinstance(damaged, bytes):
        file.write_bytes(damaged)
    else:
        file.write_text(json.dumps({**json.loads(sound), "found": damaged}))
    assert measured(SMOL, BLOCKS, tmp_path) == expected
    assert len(runs) == 2
    assert file.read_bytes() == sound
    assert [path.name for path in file.parent.iterdir()] == [file.name], "no draft is left"


def test_any_cut_of_the_file_is_noticed(tmp_path: Path, runs: list[list[str]]) -> None:
    expected = measured(SMOL, BLOCKS, tmp_path)
    sound = file_in(tmp_path).read_bytes()
    for length in range(0, len(sound), 7):
        file_in(tmp_path).write_bytes(sound[:length])
        assert measured(SMOL, BLOCKS, tmp_path) == expected
        assert file_in(tmp_path).read_bytes() == sound


def test_where_nothing_can_be_kept_every_start_measures(tmp_path: Path, runs: list[list[str]]) -> None:
    (tmp_path / KEPT).write_text("a file where the folder should be")
    assert measured(SMOL, BLOCKS, tmp_path)[0] == measured(SMOL, BLOCKS, tmp_path)[0] == "gguf"
    assert len(runs) == 2


def test_the_first_is_kept_unless_another_is_faster_by_more_than_noise(tmp_path: Path, runs: list[list[str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TIMES, "float16", 0.81)
        assert measured(SMOL, BLOCKS, tmp_path / "within")[0] == "gguf"
        patch.setitem(TIMES, "float16", 0.79)
        assert measured(SMOL, BLOCKS, tmp_path / "beyond")[0] == "float16"


def test_where_the_preferred_one_is_missing_the_next_is_preferred(
    tmp_path: Path, runs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "available", lambda name: name != "gguf")
    monkeypatch.setitem(TIMES, "bfloat16", 1.9)
    assert measured(SMOL, BLOCKS, tmp_path)[0] == "float16"


def test_a_measurement_ends_within_its_bound_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the wall clock is a second later, as on a machine that hardly runs: the least rounds are made."""
    passed = iter(range(1000))
    made = []
    monkeypatch.setattr(precision.time, "perf_counter", lambda: float(next(passed)))
    monkeypatch.setattr(precision, "_layer", lambda sides, name: [(lambda rows: made.append(name), sides[0])])
    found = precision.seconds([64, 96], ["float16", "float32"])
    assert made == ["float16", "float32"] * precision.LEAST, "in turns"
    assert set(found) == {"float16", "float32"}


def test_measuring_leaves_threads_and_random_numbers_as_they_were() -> None:
    torch.manual_seed(5)
    expected, threads = torch.randn(4), torch.get_num_threads()
    torch.manual_seed(5)
    precision.seconds([64, 96], ["float16", "float32"])
    assert torch.equal(torch.randn(4), expected)
    assert torch.get_num_threads() == threads


def test_a_large_model_is_measured_on_maps_of_a_bounded_size(tmp_path: Path, runs: list[list[str]]) -> None:
    measured(SimpleNamespace(hidden_size=8192, intermediate_size=28672), DENSE, tmp_path)
    kept = json.loads(file_in(tmp_path).read_text())
    assert kept["depends"]["sides"] == [precision.WIDEST] * 2


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Programs that never wait, as many."""
    with ExitStack() as stack:
        for _ in range(count):
            program = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(program.wait)
            stack.callback(program.kill)
        yield


def test_twenty_starts_beside_busy_programs_choose_one_precision(tmp_path: Path) -> None:
    """Each with an empty memory."""
    with busy(2):
        chosen = {measured(SMOL, BLOCKS, tmp_path / str(start))[0] for start in range(20)}
    assert len(chosen) == 1
    assert len(list(tmp_path.iterdir())) == 20
