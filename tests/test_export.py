"""An export is whole or absent, the same for the same votes, and says what it left out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.errors import PlaygroundError
from playground.feedback import export as module
from playground.feedback.export import COLUMNS, export, plain_cell
from playground.feedback.selection import REASONS
from playground.feedback.store import Store
from playground.records import Preference, Request
from playground.training.exclusions import IN_WORDS
from playground.ui.training_view import NOT_READ
from tests.samples import NOTICE, make_battle, make_traces

FORMULA_PROMPT = '=HYPERLINK("http://evil","x")\nsecond line'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Four blind votes and one from Compare."""
    store = Store.open(f"sqlite:///{tmp_path / 'data' / 'votes.sqlite3'}", tmp_path / "data")
    store.agree("voter-1", NOTICE)
    for seed, outcome in enumerate(("a", "b", "tie", "both_bad")):
        battle = make_battle(request=Request(FORMULA_PROMPT), mode="collect" if seed % 2 else "evaluate")
        token = store.open_battle(battle)
        store.finish_battle(battle.id, make_traces(seed))
        store.vote(token, "voter-1", outcome, tags=["clear"])  # type: ignore[arg-type]
    store.record_open_vote(make_battle(blind=False), make_traces(9), "a")
    yield store
    store.close()


def test_lpo_lines_are_the_preferences(store: Store, tmp_path: Path) -> None:
    manifest = export(store, tmp_path / "votes.jsonl")
    lines = (tmp_path / "votes.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [Preference.from_record(json.loads(line)) for line in lines] == list(store.preferences())
    assert len(lines) == manifest["preferences"] == 4


def test_the_manifest_counts_what_is_there_and_what_is_not(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    manifest = export(store, path, mode="collect")
    assert json.loads((tmp_path / "votes.jsonl.manifest.json").read_text()) == manifest
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["outcomes"] == {"a": 0, "b": 1, "tie": 0, "both_bad": 1}
    assert manifest["excluded"] == {"not_blind": 1, "other_mode": 2, "damaged": 0, "missing": 0}
    assert manifest["filters"] == {"include_unblind": False, "mode": "collect"}


def test_votes_from_compare_are_included_when_asked(store: Store, tmp_path: Path) -> None:
    manifest = export(store, tmp_path / "votes.jsonl", include_unblind=True)
    assert manifest["preferences"] == 5
    assert '"blind":false' in (tmp_path / "votes.jsonl").read_text()


@pytest.mark.parametrize("form", ["lpo", "csv"])
def test_the_same_votes_give_the_same_bytes(store: Store, tmp_path: Path, form: str) -> None:
    once, twice = export(store, tmp_path / "once", form), export(store, tmp_path / "twice", form)
    assert once["sha256"] == twice["sha256"]
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()


def test_a_csv_row_is_flat_and_no_cell_is_a_formula(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "votes.csv", "csv", include_unblind=True)
    with (tmp_path / "votes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["prompt"] == "'" + FORMULA_PROMPT
    assert rows[0]["a_tokens"] == "12"
    assert not [
        cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\0"))
    ]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\0"])
def test_every_opening_of_a_formula_is_disarmed(first: str) -> None:
    assert plain_cell(first + "1+1") == "'" + first + "1+1"
    assert plain_cell("1" + first) == "1" + first
    assert plain_cell(-1.5) == -1.5


def test_an_export_that_fails_leaves_the_old_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text("old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full_disk)
    with pytest.raises(PlaygroundError, match=r"cannot be written \(No space left"):
        export(store, path)
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "votes.jsonl"]


def test_a_format_or_place_that_does_not_work_is_one_sentence(store: Store, tmp_path: Path) -> None:
    with pytest.raises(PlaygroundError, match="one of lpo, csv"):
        export(store, tmp_path / "x", "dpo")
    for path in (tmp_path / "missing" / "x", tmp_path / "data"):
        with pytest.raises(PlaygroundError, match="choose another --out"):
            export(store, path)


def test_the_page_has_words_for_every_reason_that_leaves_votes_out() -> None:
    assert {*REASONS} - {"other_mode"} <= {*NOT_READ, *IN_WORDS}  # the page counts both modes
