"""What the training child does with real votes: counts with reasons, a head that decodes, the same weights after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from playground.__main__ import main
from playground.config import Settings
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.parts import Parts, Request
from playground.records import Preference
from playground.training import commands, features
from playground.training.inventory import inventory
from playground.training.jobs import Job, Jobs
from playground.training_job import LazyModel, _command, checked_name, free_name, plan_for, work, work_folder
from playground.ui.training_view import counted, made, usable, view
from tests.tiny_lm import TinyLM
from tests.voted import SEQUENCE, add_votes, tiny_parts

CHILD = (sys.executable, "-m", "tests.training_child")
DATA = {"votes": True, "unblind": False, "files": []}
TRAIN = {"task": "train", "level": "token", "loss": "separate", "name": "new", "seed": 0, "start": "", **DATA}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Parts:
    return tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"))


def here(parts: Parts, **asked: Any) -> tuple[Any, list[dict[str, Any]]]:
    """What a child does, done in this process: its result and its events."""
    events: list[dict[str, Any]] = []
    model: Any = TinyLM(end_bias=-99.0)
    plan = plan_for(parts.settings, parts.language_model, **asked)
    return work(plan, events.append, lambda: False, load=lambda settings: model), events


def job(parts: Parts, **asked: Any) -> Job:
    plan = plan_for(parts.settings, parts.language_model, **asked)
    return Jobs(CHILD).start(plan, work_folder(parts.settings) / "log.txt", lambda job: parts.shelf.refresh() and None)


def head_command(parts: Parts) -> str:
    (head,) = parts.shelf.trained
    return head.meta.command


def test_votes_are_counted_by_source_and_by_what_each_loss_can_use(parts: Parts) -> None:
    add_votes(parts, 6)
    add_votes(parts, 5, arms=SEQUENCE)
    add_votes(parts, 2, blind=False)
    result, events = here(parts, task="count", **DATA)
    data = next(event for event in events if event["event"] == "data")
    assert result == {}
    assert (data["votes"], data["sources"], data["excluded"]) == (11, {"human": 11}, {"not_blind": 2})
    ties = data["outcomes"]["tie"]
    token, sequence = data["usable"]["token"]["separate"], data["usable"]["sequence"]["separate"]
    assert token["votes"] + sum(token["dropped"].values()) == 11
    assert token["dropped"]["temperatures not sampled per token"] == 5 - ties
    assert sequence["dropped"]["temperatures not sampled per reply"] == 6
    assert sum(row[1] for row in data["drawn"]["token"]) == sum(row[2] for row in data["drawn"]["token"]) == 12 * 6
    assert counted(data) == "11 votes: 11 by people. Not read: cast in Compare, where the names were seen (2)."
    assert usable(data, "token", "separate").startswith("**6 of 11 votes** can train this, over 4 prompts.")
    with_open, _ = here(parts, task="count", votes=True, unblind=True, files=[])
    assert with_open == {}


def test_a_file_is_counted_beside_the_votes_and_a_broken_one_is_a_sentence(parts: Parts, tmp_path: Path) -> None:
    add_votes(parts, 2)
    lines = [canonical_json({**p.to_record(), "source": "verifier"}) for p in parts.store.preferences()]
    file = tmp_path / "more.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, events = here(parts, task="count", votes=True, unblind=False, files=[str(file)])
    assert events[-1]["sources"] == {"human": 2, "verifier": 2}
    _, events = here(parts, task="count", votes=False, unblind=False, files=[str(file)])
    assert events[-1]["sources"] == {"verifier": 2}
    file.write_text("{}\n")
    with pytest.raises(PlaygroundError, match="preference/1"):
        here(parts, task="count", votes=False, unblind=False, files=[str(file)])


def test_nothing_to_learn_from_is_a_sentence(parts: Parts) -> None:
    with pytest.raises(PlaygroundError, match="no decided vote"):
        here(parts, **TRAIN)


def test_a_child_trains_a_head_that_is_a_policy_at_once(parts: Parts) -> None:
    add_votes(parts, 16)
    made = job(parts, **TRAIN)
    end = made.wait(120)
    assert end["event"] == "done", end
    seen = view(made)
    assert [epoch["epoch"] for epoch in seen.epochs] == list(range(1, len(seen.epochs) + 1))
    assert all(epoch["loss"] > 0 and 0 <= epoch["held_out_accuracy"] <= 1 for epoch in seen.epochs)
    assert "new is a policy now" in seen.sentence
    assert sum(end["before"]) == pytest.approx(1) == sum(end["after"])
    assert len(set(end["before"])) == 1
    assert [path.name for path in work_folder(parts.settings).iterdir()] == ["log.txt"], "no copy of the votes is left"
    assert head_command(parts).startswith("python -m playground export --format lpo --out votes.jsonl --data-folder ")
    (trace,) = parts.generate(Request("Hello.", max_tokens=4), ["adaptive-token:checkpoint=new"])
    (head,) = parts.shelf.trained
    assert trace.checkpoint == head.id
    assert "playground train --data votes.jsonl --level token --loss separate --seed 0 --out new" in head.meta.command
    assert parts.arena == (), "not before it is promoted"


def test_a_training_goes_on_from_a_head_and_names_it_as_its_parent(parts: Parts) -> None:
    add_votes(parts, 8)
    here(parts, **TRAIN)
    (parent,) = parts.shelf.refresh().heads
    result, _ = here(parts, **{**TRAIN, "name": "child", "start": "new"})
    child = next(head for head in parts.shelf.refresh().heads if head.name == "child")
    assert child.meta.parent == parent.id
    assert result["start"] == "new"
    assert len(set(result["before"])) > 1


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(parts: Parts) -> None:
    add_votes(parts, 24, tokens=24)
    whole = job(parts, **{**TRAIN, "name": "whole"}).wait(120)  # in a child too: threads may differ from this process's
    folder = parts.settings.trained_heads
    broken = job(parts, **{**TRAIN, "name": "broken"})
    while broken.running and not any(event["event"] == "epoch" for event in broken.events):
        time.sleep(0.01)
    os.kill(broken._child.pid, signal.SIGKILL)
    assert broken.wait(30)["event"] == "error"
    assert job(parts, **{**TRAIN, "name": "broken"}).wait(120)["event"] == "done"
    digests = [hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).digest() for name in ("whole", "broken")]
    assert digests[0] == digests[1]
    assert whole["epoch"] >= 1


def test_a_stop_while_votes_are_read_writes_nothing(parts: Parts) -> None:
    add_votes(parts, 8)
    plan = plan_for(parts.settings, parts.language_model, **TRAIN)
    assert work(plan, lambda event: None, lambda: True, load=lambda settings: TinyLM()) is None  # type: ignore[arg-type, return-value]
    assert not parts.settings.trained_heads.exists()


def test_a_stop_after_an_epoch_makes_the_best_so_far_the_head(parts: Parts) -> None:
    add_votes(parts, 8)
    epochs: list[Any] = []

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            epochs.append(event)

    plan = plan_for(parts.settings, parts.language_model, **TRAIN)
    model: Any = TinyLM(end_bias=-99.0)
    result = work(plan, emit, lambda: len(epochs) >= 2, load=lambda settings: model)
    assert result is not None
    assert (len(epochs), result["stopped"]) == (2, True)
    assert made(result).startswith("Stopped early. new is a policy now")
    assert [head.name for head in parts.shelf.refresh().heads] == ["new"]


class StopsAt:
    """Says stop from the first event of a phase on."""

    def __init__(self, phase: str) -> None:
        self.phase, self.events = phase, list[dict[str, Any]]()

    def __call__(self) -> bool:
        return any(event.get("phase") == self.phase for event in self.events)


def test_a_stop_after_the_head_is_made_ends_the_comparison_and_not_the_head(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_votes(parts, 8)
    plan = plan_for(parts.settings, parts.language_model, **TRAIN)
    model: Any = TinyLM(end_bias=-99.0)
    stop = StopsAt("Comparing with the start")
    result = work(plan, stop.events.append, stop, load=lambda settings: model)
    assert result is not None
    assert result["name"] == "new"
    assert not result["stopped"], "the training itself was done"
    assert "grid" not in result
    assert [head.name for head in parts.shelf.refresh().heads] == ["new"]


def test_a_stopped_training_reads_no_votes_again(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    add_votes(parts, 8)
    reads: list[int] = []
    pairs_of = features.pairs_of
    monkeypatch.setattr(features, "pairs_of", lambda *given, **named: reads.append(1) or pairs_of(*given, **named))
    epochs: list[Any] = []
    plan = plan_for(parts.settings, parts.language_model, **TRAIN)
    model: Any = TinyLM(end_bias=-99.0)

    def emit(event: dict[str, Any]) -> None:
        epochs.extend([event] if event["event"] == "epoch" else [])

    result = work(plan, emit, lambda: bool(epochs), load=lambda settings: model)
    assert result is not None
    assert result["stopped"]
    assert reads == []  # train.py reads them under a name of its own


@pytest.mark.parametrize(("level", "loss", "votes"), [("token", "separate", True), ("sequence", "latent-token", False)])
def test_the_command_on_a_card_makes_the_same_head(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, loss: str, votes: bool
) -> None:
    add_votes(parts, 8)
    add_votes(parts, 2, blind=False)
    file = tmp_path / "of mine" / "more.jsonl"
    file.parent.mkdir()
    lines = [canonical_json(preference.to_record()) for preference in parts.store.preferences()]
    file.write_text("\n".join(lines[:6]) + "\n", encoding="utf-8")
    asked = {**TRAIN, "level": level, "loss": loss, "seed": 3, "votes": votes, "unblind": True, "files": [str(file)]}
    here(parts, **{**asked, "name": "parent"})
    here(parts, **{**asked, "start": "parent"})
    weights = parts.settings.trained_heads / "new.safetensors"
    made = weights.read_bytes()
    command = json.loads(weights.with_suffix(".json").read_text())["command"]
    for path in parts.settings.trained_heads.glob("new.*"):
        path.unlink()
    monkeypatch.chdir(tmp_path)
    loaded: list[Settings] = []
    monkeypatch.setattr(commands, "load_model", lambda settings: loaded.append(settings) or TinyLM(end_bias=-99.0))
    for line in command.split(" && "):
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "playground"]
        assert main(words[3:], {"PLAYGROUND_CACHE_FOLDER": str(tmp_path / "other cache")}) == 0
    assert weights.read_bytes() == made
    assert loaded[0].precision == parts.language_model.precision


def test_the_command_names_a_model_that_is_not_the_default_and_no_password(parts: Parts) -> None:
    kept = replace(parts.settings, model="a/b", revision="main", device="cpu", database_url="postgresql://u:secret@h/d")
    command = _command({**TRAIN, "unblind": True}, replace(kept, precision="int8"))
    assert command.endswith("--precision int8 --model a/b --revision main --device cpu")
    assert f"--data-folder {parts.settings.data_folder} &&" in command
    assert "secret" not in command
    plain = _command(TRAIN, Settings())
    assert "--model" not in plain
    assert "--data-folder" not in plain


def test_the_model_is_loaded_only_for_what_is_not_known(parts: Parts) -> None:
    loads: list[int] = []
    facts = {
        name: getattr(parts.language_model, name)
        for name in ("name", "revision", "precision", "hidden_size", "vocab_size")
    }
    lazy = LazyModel(facts, lambda: loads.append(1) or TinyLM())
    assert (lazy.name, lazy.vocab_size) == ("tiny", TinyLM.vocab_size)
    assert loads == []
    assert lazy.features([1, 2], [3]).shape == lazy.features([1, 2], [3]).shape
    assert loads == [1]
    changed = LazyModel(facts, lambda: TinyLM(seed=4))
    with pytest.raises(PlaygroundError, match="has changed"):
        changed.features([1], [2])


def test_a_second_training_over_the_same_votes_needs_no_model(parts: Parts) -> None:
    add_votes(parts, 8)
    here(parts, **TRAIN)
    _, events = here(parts, **{**TRAIN, "name": "second"})
    assert not any("Loading the model" in str(event.get("phase")) for event in events)


def test_a_name_is_free_and_well_formed(settings: Settings) -> None:
    assert free_name(settings, "token") == "votes-token-1"
    settings.trained_heads.mkdir(parents=True)
    (settings.trained_heads / "votes-token-1.safetensors").touch()
    assert free_name(settings, "token") == "votes-token-2"
    for name in ("votes-token-1", "shipped", "Upper", "../x", ".hidden", "-rf", "-", "--out", "", "a" * 64):
        with pytest.raises(PlaygroundError):
            checked_name(settings, name, {"shipped"})
    assert checked_name(settings, "fine-1.b", {"shipped"}) == "fine-1.b"


def test_the_inventory_of_nothing_is_all_noughts() -> None:
    none: list[Preference] = []
    data = inventory(none)
    assert data["votes"] == 0
    assert usable({**data, "excluded": {}}, "token", "separate") == "**0 of 0 votes** can train this, over 0 prompts."
