"""What can be judged without the language model is refused before it is loaded, which takes half a minute on a slow machine."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from playground import parts
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
