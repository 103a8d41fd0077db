"""Heads for a second model: made from nothing but its folder, used by its policies, refused everywhere else."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from models.checkpoints import read
from playground.__main__ import main
from playground.training.predictors import bootstrap
from playground.training.predictors.bootstrap import KINDS, OWN, slug
from tests.second_model import HIDDEN, second_model

pytestmark = pytest.mark.slow
SIZES = ("--limit", "14", "--max-tokens", "24", "--candidates", "6", "--seed", "1")


def bootstrapped(model: Path, out: Path, *more: str) -> int:
    places = {"PLAYGROUND_CACHE_FOLDER": str(out.parent / "cache"), "PLAYGROUND_DATA_FOLDER": str(out.parent / "data")}
    command = ["bootstrap", "--model", str(model), "--out", str(out), "--precision", "float32", *SIZES, *more]
    return main(command, places)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a second model in `second-model` and its heads in `heads`."""
    place = tmp_path_factory.mktemp("bootstrap")
    assert bootstrapped(second_model(place / "second-model"), place / "heads") == 0
    return place


def generate(place: Path, model: Path, heads: str, policy: str) -> int:
    command = ["generate", "--model", str(model), "--checkpoints", heads, "--precision", "float32", "--json"]
    places = {"PLAYGROUND_CACHE_FOLDER": str(place / "cache"), "PLAYGROUND_DATA_FOLDER": str(place / "data")}
    return main([*command, "--prompt", "Write a story.", "--max-tokens", "6", "--policy", policy], places)


def test_every_kind_of_head_is_made_and_says_from_what(place: Path) -> None:
    for kind in KINDS:
        head = read(place / "heads", f"{kind}.second-model")
        assert head.meta.kind == kind
        assert head.meta.base.hidden_size == HIDDEN
        assert head.meta.base.revision.startswith("sha256-")
        assert head.meta.metrics["bootstrap"]["texts"] == OWN
        assert "second-model" in head.card
        if kind in ("tempnet", "auto-deco"):
            assert OWN in head.card
            assert "GSM8K" not in head.card
            assert "human text" not in head.card


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_decodes_with_its_heads(place: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(place, place / "second-model", str(place / "heads"), kind) == 0
    trace = json.loads(capsys.readouterr().out)
    assert trace["checkpoint"] == read(place / "heads", f"{kind}.second-model").id


def test_heads_are_refused_by_other_weights_and_follow_the_same_ones(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, heads = "adaptive-token:checkpoint=adaptive-token.second-model", str(place / "heads")
    other = second_model(tmp_path / "second-model", seed=1)
    assert generate(place, other, heads, policy) == 2
    refusal = capsys.readouterr().err
    assert "was trained on revision 'sha256-" in refusal
    assert refusal.count("\n") == 1
    shutil.copytree(place / "second-model", tmp_path / "renamed")
    assert generate(place, tmp_path / "renamed", heads, policy) == 0


def test_the_same_command_again_keeps_every_head(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(place / "heads")
    assert bootstrapped(place / "second-model", place / "heads") == 0
    assert capsys.readouterr().err.count(": kept") == len(KINDS)
    assert hashes(place / "heads") == before


def test_a_run_that_was_cut_short_ends_as_one_that_was_not(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = next((place / "heads" / "bootstrap").iterdir())
    out = place / "again"
    draw, drawn = bootstrap.replies, []

    def cut(*arguments: object) -> object:
        drawn.append(arguments)
        if len(drawn) == 9:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bootstrap, "replies", cut)
    assert bootstrapped(place / "second-model", out, "--only", "tempnet") == 130
    part = out / "bootstrap" / whole.name / "texts.jsonl"
    assert len(part.read_text().splitlines()) == 16
    part.write_text(part.read_text() + '{"prompt": "Wr')
    monkeypatch.setattr(bootstrap, "replies", draw)
    assert bootstrapped(place / "second-model", out, "--only", "tempnet") == 0
    assert part.read_bytes() == (whole / "texts.jsonl").read_bytes()
    name = "tempnet.second-model.safetensors"
    assert (out / name).read_bytes() == (place / "heads" / name).read_bytes()


def test_what_a_model_cannot_teach_is_left_out_in_a_sentence(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "candidates_of", lambda this, level: [place / "empty.jsonl"])
    (place / "empty.jsonl").write_text("")
    assert bootstrapped(place / "second-model", place / "none", "--only", "adaptive-token", "tempnet") == 0
    assert "adaptive-token.second-model was left out: `data` " in capsys.readouterr().err
    assert bootstrapped(place / "second-model", place / "none", "--only", "adaptive-token") == 2


def test_the_end_of_a_name_is_one_that_a_checkpoint_may_have() -> None:
    assert slug("org/Model 1B_(v2)") == "model-1b_-v2"
    assert slug("模型") == "model"
    assert len(slug("x" * 200)) == 40


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}
