"""Whatever lies in the folders that are read at a start or by the Train tab is one sentence or not listed, and never waited for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models import strict_json
from models.remembered import remembered
from playground.config import Settings
from playground.errors import PlaygroundError
from playground.feedback.tokens import load_key
from playground.suggest import read_prompts
from playground.training.cache import cached
from playground.training.inventory import preference_files
from playground.training.jobs import Jobs
from playground.training.resume import Resume
from playground.training.train import read_preferences
from playground.ui.training_handlers import Train
from tests.odd_files import HUGE, UNREADABLE
from tests.serving import cookie_of, served
from tests.test_train_tab import CHILD, HERE, OPERATORS, TRAIN_EVENTS
from tests.voted import tiny_parts

# Gradio leaves its event loop open
pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
ODD_NAMES = [b"a\nb", b"a\x1b[2Jb", b"not \xff UTF-8", "\u202egpj".encode(), "\u200b".encode(), "\u2028".encode()]
Make = Callable[[Path], object]
each = pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
huge_too = pytest.mark.parametrize("make", [*UNREADABLE.values(), *HUGE.values()], ids=[*UNREADABLE, *HUGE])


def fill(folder: Path) -> None:
    """Everything that no training can read, and one empty file that it can."""
    folder.mkdir(parents=True)
    for name, make in UNREADABLE.items():
        make(folder / f"{name}.jsonl")
    for odd in ODD_NAMES:
        Path(os.fsdecode(os.path.join(os.fsencode(folder), odd + b".jsonl"))).touch()
    (folder / "votes of mine.jsonl").touch()


def test_only_what_can_be_read_and_shown_is_listed(tmp_path: Path) -> None:
    fill(tmp_path / "preferences")
    assert preference_files(tmp_path / "preferences") == {"votes of mine.jsonl": 0}


@each
def test_a_folder_of_preferences_that_is_none_lists_nothing(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "preferences")
    assert preference_files(tmp_path / "preferences") == {}


def test_the_page_is_built_and_the_tab_opens_over_all_of_it(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    fill(settings.data_folder / "preferences")
    with served(parts) as server:  # type: ignore[arg-type]
        monkeypatch.setattr(Jobs, "start", lambda *_: None)
        cookie = cookie_of(server.page.operators)
        told = server.event(server.function("entered"), TRAIN_EVENTS["entered"], "s", Cookie=cookie).decode()
    assert '"success":true' in told
    assert "votes of mine.jsonl (0.0 MB)" in told
    assert told.count(".jsonl (") == 1


@huge_too
def test_a_preference_file_that_is_none_is_one_sentence_of_the_child(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, make: Make
) -> None:
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    tab = Train(parts, OPERATORS, Jobs(CHILD))
    tab.preferences.mkdir(parents=True)
    (tab.preferences / "mine.jsonl").touch()
    plan = tab.data(["mine.jsonl"], False)
    (tab.preferences / "mine.jsonl").unlink()
    make(tab.preferences / "mine.jsonl")  # between the list and the count
    monkeypatch.setattr(tab, "data", lambda *_: plan)
    tab.count(["mine.jsonl"], False, HERE)
    last = tab.jobs.latest.wait(60)  # type: ignore[union-attr]
    assert last["event"] == "error"
    assert last["sentence"].startswith("Preferences must lie in files that can be read; ")
    parts.store.close()


@pytest.mark.parametrize("half", ["\\ud800", "\\uDFFF", "\\udbff\\ud800"])
@pytest.mark.parametrize("shape", ['"%s"', '["a%s"]', '{"%s": 1}', '{"a": [{"b": "%s<script>"}]}'])
def test_half_a_surrogate_pair_is_refused_at_reading(half: str, shape: str, tmp_path: Path) -> None:
    text = shape % half
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        strict_json.loads(text)
    file = tmp_path / "votes.jsonl"
    file.write_text(text)
    with pytest.raises(PlaygroundError, match=r"line 1 of .* is not: half of a surrogate pair"):
        read_preferences([file])


def test_a_whole_pair_is_a_character() -> None:
    assert strict_json.loads('"\\ud83c\\udf21 \\\\ud800"') == "\U0001f321 \\ud800"


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused_in_preferences(number: str, tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    file.write_text(f'{{"propensity": {number}}}')
    with pytest.raises(PlaygroundError, match="line 1 of"):
        read_preferences([file])


def test_prompts_with_half_a_pair_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text('[{"prompt": "a\\ud800"}]')
    with pytest.raises(PlaygroundError, match="must be a JSON list"):
        read_prompts(file, Any)  # type: ignore[arg-type]


@huge_too
def test_what_was_measured_once_is_measured_again(make: Make, tmp_path: Path) -> None:
    remembered(tmp_path, {"a": 1}, lambda found: found == 7, lambda: 7)
    (file,) = tmp_path.iterdir()
    file.unlink()
    make(file)
    assert remembered(tmp_path, {"a": 1}, lambda found: found == 7, lambda: 7) == 7


@huge_too
def test_a_signing_key_that_is_no_file_is_one_sentence(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "key")
    with pytest.raises(PlaygroundError, match="signing key"):
        load_key(tmp_path / "key")


@each
def test_a_state_that_is_no_file_is_none(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "state")
    assert Resume(tmp_path / "state", "key").load() is None


def test_a_pipe_among_the_cached_tensors_is_replaced(tmp_path: Path) -> None:
    import torch

    one = {"x": torch.ones(1)}
    cached(tmp_path, "key", lambda: one)
    (file,) = tmp_path.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert cached(tmp_path, "key", lambda: one).keys() == one.keys()
    assert file.is_file()


@each
def test_a_log_that_is_no_file_is_replaced_or_a_sentence(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "log.txt")
    jobs = Jobs([sys.executable, "-m", "tests.training_child", "scripted"])
    if make is UNREADABLE["folder"]:
        with pytest.raises(PlaygroundError, match="could not be started"):
            jobs.start({"do": "print"}, tmp_path / "log.txt")
    else:
        assert jobs.start({"do": "print"}, tmp_path / "log.txt").wait(30) == {"event": "done", "answer": 42}
