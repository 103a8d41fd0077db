"""Settings: a flag beats the environment, the environment beats the default, and nothing else is read."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from playground.__main__ import parser as command_line
from playground.config import Settings, add_common_flags, settings_from
from playground.errors import PlaygroundError


def test_a_flag_beats_the_environment_and_the_environment_the_default() -> None:
    environment = {"PLAYGROUND_MODEL": "org/from-environment", "PLAYGROUND_PORT": "9000"}
    assert settings_from({"model": "org/from-flag"}, environment).model == "org/from-flag"
    assert settings_from({"model": None}, environment).model == "org/from-environment"
    assert settings_from({}, {}).model == Settings().model == "embedded"
    assert settings_from({}, environment).port == 9000
    assert settings_from({"port": "8000"}, environment).port == 8000


def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYGROUND_MODEL", "org/secret")
    assert settings_from({}, {}).model == "embedded"


def test_an_empty_variable_counts_as_unset() -> None:
    assert settings_from({}, {"PLAYGROUND_PORT": "", "PLAYGROUND_MODEL": ""}) == Settings()


def test_every_common_flag_sets_its_setting_and_unset_flags_nothing() -> None:
    parser = argparse.ArgumentParser()
    add_common_flags(parser)
    assert settings_from(vars(parser.parse_args([])), {}) == Settings()
    line = (
        "--model m/x --revision r --precision float32 --device cpu --threads 3 --small-model m/y --checkpoints c "
        "--database-url sqlite:///x --data-folder d --cache-folder e"
    )
    chosen = settings_from(vars(parser.parse_args(line.split())), {})
    assert chosen == Settings("m/x", "r", "float32", "cpu", 3, "m/y", Path("c"), "sqlite:///x", Path("d"), Path("e"))


def test_folders_are_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    chosen = settings_from({"data_folder": "~/data"}, {})
    assert chosen.data_folder == tmp_path / "data"
    assert chosen.sqlalchemy_url == f"sqlite:///{tmp_path / 'data' / 'votes.sqlite3'}"
    assert settings_from({"database_url": "sqlite:///other"}, {}).sqlalchemy_url == "sqlite:///other"


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http", "80.5", "9" * 30])
def test_a_port_out_of_range_is_refused_with_the_range(port: str) -> None:
    with pytest.raises(PlaygroundError, match="between 1 and 65535"):
        settings_from({}, {"PLAYGROUND_PORT": port})


@pytest.mark.parametrize("threads", ["0", "-1", "1025", "two", "1.5"])
def test_a_number_of_threads_out_of_range_is_refused_with_the_range(threads: str) -> None:
    with pytest.raises(PlaygroundError, match="between 1 and 1024"):
        settings_from({"threads": threads}, {})


def test_threads_that_the_user_gave_openmp_are_the_threads() -> None:
    assert settings_from({}, {}).threads is None
    assert settings_from({}, {"OMP_NUM_THREADS": "3"}).threads == 3
    assert settings_from({}, {"OMP_NUM_THREADS": " 3 ,2"}).threads == 3
    assert settings_from({}, {"OMP_NUM_THREADS": "3", "PLAYGROUND_THREADS": ""}).threads == 3
    assert settings_from({}, {"OMP_NUM_THREADS": "3", "PLAYGROUND_THREADS": "2"}).threads == 2
    assert settings_from({"threads": "1"}, {"OMP_NUM_THREADS": "3", "PLAYGROUND_THREADS": "2"}).threads == 1
    for nonsense in ("", "many", "0", "²", "9" * 30):
        assert settings_from({}, {"OMP_NUM_THREADS": nonsense}).threads is None


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PlaygroundError, match="one of auto, float32, float16, bfloat16, int8, gguf, got 'int3'"):
        settings_from({}, {"PLAYGROUND_PRECISION": "int3"})


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("tempnet --texts f --out a --epochs 0", "whole number from 1"),
        ("tempnet --texts f --out a --learning-rate nan", "number above 0"),
        ("tempnet --texts f --out a --learning-rate -1", "number above 0"),
        ("tempnet --texts f --out a --target-nats inf", "number above 0"),
        ("tuned-lens --texts f --out a --layers 5 --tokens -3", "whole number from 1"),
        ("auto-deco --texts f --out a --drop-easy 7", "number from 0 to 1"),
        ("difficulty --prompts f --out a --seed -1", "whole number from 0"),
        ("train --data f --level token --out a --epochs 1.5", "whole number from 1"),
        ("sample --prompts f --reward contains-answer --out a --n 1", "whole number from 2"),
    ],
)
def test_numbers_that_no_training_can_use_are_refused_in_one_sentence(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_line().parse_args(words.split())
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
