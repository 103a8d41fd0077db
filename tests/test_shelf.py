"""Heads that appear while the app runs, and which of them meet in the Arena."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import save
from models.meta import Base, Meta
from playground.config import Settings
from playground.errors import PlaygroundError
from playground.parts import Request
from playground.shelf import Shelf
from tests.voted import tiny_parts

GRID = (0.0, 0.5, 1.0)
BASE = Base("org/model", "r1", 12, 100)


def put(folder: Path, name: str, kind: str = "adaptive-token", seed: int = 0, base: Base = BASE) -> None:
    torch.manual_seed(seed)
    made = AdaptiveDecoder(base.hidden_size, len(GRID), width=8)
    torch.nn.init.normal_(made.last.weight)
    meta = Meta(kind, base, GRID, 8, "separate", None, "0" * 64, {}, (0.5, 0.25, 0.25), "", "")
    save(folder, name, made, meta, f"# {name}\n")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf([tmp_path / "own", tmp_path / "others"], BASE)


def test_a_new_head_is_listed_and_the_default_of_its_kind_at_once(shelf: Shelf) -> None:
    assert shelf.now.heads == ()
    put(shelf.folders[0], "b-head")
    assert [head.name for head in shelf.trained] == ["b-head"]
    assert shelf.now.catalogue.parse("adaptive-token").values["checkpoint"] == "b-head"
    assert shelf.now.arena == ()


def test_promotion_enters_the_arena_outlives_the_app_and_can_be_taken_back(shelf: Shelf) -> None:
    for name in ("a-head", "b-head", "c-head"):
        put(shelf.folders[0], name)
    shelf.promote("b-head")
    assert shelf.now.arena == ("adaptive-token",)
    assert shelf.now.catalogue.parse("adaptive-token").values["checkpoint"] == "b-head"
    shelf.promote("c-head")
    shelf.promote("c-head")
    again = Shelf(shelf.folders, BASE)
    assert again.now.arena == shelf.now.arena == ("adaptive-token", "adaptive-token:checkpoint=c-head")
    assert again.now.promoted == {"b-head", "c-head"}
    again.withdraw("b-head")
    assert again.now.arena == ("adaptive-token",)
    assert again.now.catalogue.parse("adaptive-token").values["checkpoint"] == "c-head"
    with pytest.raises(PlaygroundError, match="that is promoted"):
        again.withdraw("b-head")


def test_a_head_made_anew_under_a_promoted_name_is_not_promoted(shelf: Shelf) -> None:
    put(shelf.folders[0], "a-head")
    shelf.promote("a-head")
    put(shelf.folders[0], "a-head", seed=1)
    assert shelf.now.arena == ()


@pytest.mark.parametrize("lost", ["a-head.safetensors", "a-head.json", "a-head.md", "a-head.promoted"])
def test_a_promoted_head_that_loses_a_file_is_no_longer_drawn(shelf: Shelf, lost: str) -> None:
    put(shelf.folders[0], "a-head")
    shelf.promote("a-head")
    assert shelf.now.arena == ("adaptive-token",)
    (shelf.folders[0] / lost).unlink()
    assert shelf.now.arena == ()


def test_of_a_head_made_anew_under_its_name_nothing_old_decodes(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    parts = tiny_parts(monkeypatch, settings)
    ids = []
    for seed in range(2):
        put(settings.trained_heads, "a-head", seed=seed, base=parts.shelf.base)
        trace = parts.generate(Request("Hello.", max_tokens=2), ["adaptive-token:checkpoint=a-head"])[0]
        assert trace.checkpoint == parts.heads[0].id
        ids.append(trace.checkpoint)
    assert ids[0] != ids[1]
    (settings.trained_heads / "a-head.safetensors").unlink()
    with pytest.raises(PlaygroundError, match="no checkpoint 'a-head'"):
        parts.generate(Request("Hello.", max_tokens=2), ["adaptive-token:checkpoint=a-head"])


@pytest.mark.parametrize(
    "mark",
    [
        "[" * 100_000,
        '{"weights_sha256": "0", "weights_sha256": "1"}',
        "",
        "[]",
        "{}",
        "not json",
        '{"weights_sha256": 1}',
        "\0",
    ],
)
def test_a_damaged_mark_promotes_nothing(shelf: Shelf, mark: str) -> None:
    put(shelf.folders[0], "a-head")
    (shelf.folders[0] / "a-head.promoted").write_text(mark)
    assert shelf.refresh().promoted == frozenset()


def test_what_is_no_head_or_of_no_blind_kind_is_not_promoted(shelf: Shelf) -> None:
    put(shelf.folders[0], "other", base=Base("org/another", "r1", 12, 100))
    for name in ("other", "no-such-head", "../escape", ""):
        with pytest.raises(PlaygroundError, match="does not ship"):
            shelf.promote(name)
    assert not list(shelf.folders[0].glob("*.promoted"))


def test_a_head_from_elsewhere_is_marked_in_ones_own_folder(shelf: Shelf) -> None:
    put(shelf.folders[1], "a-head", "adaptive-sequence")
    shelf.promote("a-head")
    assert shelf.now.arena == ("adaptive-sequence",)
    record = json.loads((shelf.folders[0] / "a-head.promoted").read_text())
    assert record["weights_sha256"] == shelf.now.heads[0].sha256


def test_a_head_made_while_the_app_runs_decodes_at_once(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    parts = tiny_parts(monkeypatch, settings)
    with pytest.raises(PlaygroundError, match="No trained head"):
        parts.generate(Request("Hello.", max_tokens=4), ["adaptive-token"])
    put(settings.trained_heads, "fresh", base=parts.shelf.base)
    parts.shelf.refresh()
    traces = parts.generate(Request("Hello.", max_tokens=4), ["adaptive-token:checkpoint=fresh", "adaptive-token"])
    assert {trace.checkpoint for trace in traces} == {head.id for head in parts.heads if head.name == "fresh"}
