"""The Train tab without a browser: who may, what may be chosen, what a job tells, and what becomes of its head."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from playground.config import Settings
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.parts import Parts
from playground.training.jobs import Jobs
from playground.training_job import work_folder
from playground.ui import training_handlers
from playground.ui.arms import pairs
from playground.ui.operators import Operators
from playground.ui.train import charts_of
from playground.ui.training_charts import drawn_chart, ratio
from playground.ui.training_handlers import Train, parent_spec
from playground.ui.training_view import made, view
from playground.ui.wire import encoded
from tests.serving import cookie_of, served
from tests.test_shelf import put
from tests.voted import add_votes, tiny_parts

# Gradio leaves its event loop open
pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
CHILD = (sys.executable, "-m", "tests.training_child")
OPERATORS = Operators(7860)
HERE: Any = SimpleNamespace(headers={"host": "127.0.0.1:7860", "cookie": cookie_of(OPERATORS)})
STRANGER: Any = SimpleNamespace(headers={"host": "127.0.0.1:7860"})
CHOSEN: list[Any] = [["votes"], False, "token", "separate"]
TRAIN_EVENTS: dict[str, list[Any]] = {
    "begin": [*CHOSEN, "", "", 0],
    "begin_count": CHOSEN[:2],
    "end": [],
    "entered": CHOSEN,
    "tick": [*CHOSEN, None, None],
    "asked": CHOSEN,
    "levelled": CHOSEN,
    "look": [None],
    "compare": [None],
}
ASKED = {"unblind": False, "level": "token", "loss": "separate", "begin": "", "name": "", "seed": 0, "visitor": HERE}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Parts:
    return tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)


@pytest.fixture
def tab(parts: Parts) -> Train:
    return Train(parts, OPERATORS, Jobs(CHILD))


@pytest.mark.parametrize("call", ["count", "start", "stop", "promote", "withdraw"])
def test_a_visitor_who_may_not_train_is_refused_by_every_verb(tab: Train, call: str) -> None:
    put(tab.parts.settings.trained_heads, "head", base=tab.parts.shelf.base)
    values: dict[str, list[Any]] = {
        "count": [["votes"], False],
        "start": [["votes"], False, "token", "separate", "", "", 0],
    }
    values |= {"stop": [], "promote": ["head"], "withdraw": ["head"]}
    with pytest.raises(PlaygroundError, match="for the operator"):
        getattr(tab, call)(*values[call], STRANGER)
    assert tab.jobs.latest is None
    assert not list(tab.parts.settings.trained_heads.glob("*.promoted"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"level": "letter"}, "Level must be"),
        ({"loss": "magic"}, "Level must be"),
        ({"begin": "no-such-head"}, "Start from a head"),
        ({"name": "../escape"}, "Name must have"),
        ({"seed": -1}, "Seed must be"),
        ({"seed": "x"}, "Seed must be"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence_and_starts_nothing(
    tab: Train, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PlaygroundError, match=sentence):
        tab.start(["votes"], **{**ASKED, **changed})
    assert tab.jobs.latest is None


def test_only_listed_data_can_be_chosen(tab: Train, tmp_path: Path) -> None:
    tab.preferences.mkdir(parents=True)
    (tab.preferences / "sampled.jsonl").write_text("")
    (tmp_path / "secret.jsonl").write_text("")
    assert [name for _, name in tab.sources()] == ["votes", "sampled.jsonl"]
    for chosen in (
        [],
        None,
        ["../../secret.jsonl"],
        [str(tmp_path / "secret.jsonl")],
        ["votes", "other.jsonl"],
        "votes",
    ):
        with pytest.raises(PlaygroundError, match="Choose votes"):
            tab.count(chosen, False, HERE)
    assert tab.data(["sampled.jsonl"], True)["files"] == [str(tab.preferences / "sampled.jsonl")]


def test_from_votes_to_a_head_in_the_arena_and_out_again(tab: Train) -> None:
    add_votes(tab.parts, 12)
    tab.start(["votes"], **ASKED)
    with pytest.raises(PlaygroundError, match="A training is running"):
        tab.start(["votes"], **ASKED)
    assert tab.seen().state == "running"
    assert tab.jobs.latest
    tab.jobs.latest.wait(120)
    seen = tab.seen()
    assert seen.state == "done", seen.sentence
    loss, accuracy, drawn, predicted = charts_of(seen, "token", "tokens")
    assert len(loss.data) == len(drawn.data) == len(predicted.data) == 2
    assert list(accuracy.data[0].y) == [epoch["held_out_accuracy"] for epoch in seen.epochs]
    assert sum(map(sum, (bar.y for bar in drawn.data))) == 2 * 12 * seen.data["usable"]["token"]["separate"]["votes"]  # type: ignore[index]
    assert tab.beside_parent("votes-token-1") == ["adaptive-token:checkpoint=votes-token-1", "random:per=token"]
    assert "votes-token-1" in dict(tab.starts("token"))
    assert tab.parts.arena == ()
    tab.promote("votes-token-1", HERE)
    assert {arm for pair, _ in pairs("collect", tab.parts.arena) for arm in pair} == {"adaptive-token:select=sample"}
    assert "· in the Arena" in tab.told("votes-token-1")[0]
    tab.withdraw("votes-token-1", HERE)
    assert tab.parts.arena == ()
    assert "not in the Arena" in tab.told("votes-token-1")[0]


def test_counts_stay_until_the_next_job_has_counted_the_same_data(tab: Train) -> None:
    add_votes(tab.parts, 2)
    tab.count(["votes"], False, HERE)
    assert tab.jobs.latest
    tab.jobs.latest.wait(120)
    assert (tab.seen().data or {})["votes"] == 2
    tab.start(["votes"], **ASKED)
    assert (tab.seen().data or {})["votes"] == 2
    tab.stop(HERE)
    tab.jobs.latest.wait(60)
    tab.start(["votes"], **{**ASKED, "unblind": True})
    assert tab.seen().data is None
    tab.stop(HERE)
    tab.jobs.latest.wait(60)


def test_a_count_replaces_the_one_that_runs_and_a_training_refuses_both(tab: Train) -> None:
    add_votes(tab.parts, 3)
    tab.preferences.mkdir(parents=True)
    lines = [canonical_json(preference.to_record()) for preference in tab.parts.store.preferences()]
    (tab.preferences / "more.jsonl").write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")
    tab.count(["votes"], False, HERE)
    replaced = tab.jobs.latest
    tab.count(["votes", "more.jsonl"], False, HERE)
    assert replaced
    assert tab.jobs.latest
    assert (view(replaced).state, tab.seen().state) == ("stopped", "running")
    tab.jobs.latest.wait(120)
    assert (tab.seen().data or {})["votes"] == 5
    tab.start(["votes"], **ASKED)
    with pytest.raises(PlaygroundError, match="A training is running"):
        tab.count(["votes"], False, HERE)
    tab.stop(HERE)
    tab.jobs.latest.wait(60)


def test_what_a_killed_job_exported_is_removed(tab: Train) -> None:
    tab.count(["votes"], False, HERE)
    assert tab.jobs.latest
    folder = work_folder(tab.parts.settings)
    left = [folder / name for name in ("votes.jsonl", "votes.jsonl.manifest.json", ".votes.jsonl.1.part")]
    for path in left:
        path.write_text("what a voter wrote")
    tab.jobs.latest.drop()
    assert not any(path.exists() for path in left)


def test_the_sentence_of_a_training_that_ended_follows_what_it_left() -> None:
    for end, without in (
        ({"event": "stopped"}, "no head was made"),
        ({"event": "error", "sentence": "It broke."}, "It"),
    ):
        job: Any = SimpleNamespace(plan={"task": "train", "name": "new"}, events=[end], stopping=True)
        left, none = view(job, ["old", "new"]), view(job, ["old"])
        assert (left.head, none.head) == ("new", "")
        assert "new was made" in left.sentence
        assert "no head" not in left.sentence
        assert none.sentence.startswith(("Stopped; " if end["event"] == "stopped" else "") + without)
    count: Any = SimpleNamespace(plan={"task": "count"}, events=[{"event": "stopped"}], stopping=True)
    assert (view(count, ["new"]).head, view(count, ["new"]).sentence) == ("", "")


def test_a_child_killed_after_it_wrote_its_head_is_said_to_have_made_it(tab: Train) -> None:
    tab.start(["votes"], **{**ASKED, "name": "new"})
    job = tab.jobs.latest
    assert job
    put(tab.parts.settings.trained_heads, "new", base=tab.parts.shelf.base)
    job.drop()
    assert (tab.seen().state, tab.seen().head) == ("stopped", "new")
    assert tab.seen().sentence == "Stopped; new was made before and is a policy now."


def test_a_head_that_was_not_compared_has_a_chart_that_says_so(tab: Train) -> None:
    result = {"event": "done", "name": "new", "epoch": 1, "start": "uniform", "held_out_accuracy": 0.5, "stopped": True}
    done = {**result, "held_out_pairs": 4, "train_pairs": 4}
    job: Any = SimpleNamespace(plan={"task": "train", "name": "new"}, events=[done], stopping=True)
    (note,) = charts_of(view(job), "token", "tokens")[3].layout.annotations
    assert "not compared" in note.text


def test_the_place_of_preference_files_is_named(tab: Train) -> None:
    assert str(tab.parts.settings.data_folder / "preferences") in tab.place


@pytest.mark.parametrize(
    ("right", "pairs", "told"), [(1.0, 2, False), (0.6, 50, False), (0.7, 50, True), (0.2, 50, True)]
)
def test_few_held_out_pairs_are_said_to_be_few(right: float, pairs: int, told: bool) -> None:
    result = {
        "name": "n",
        "held_out_accuracy": right,
        "held_out_pairs": pairs,
        "train_pairs": 1,
        "epoch": 1,
        "stopped": False,
    }
    assert ("cannot tell it" not in made(result)) is told


def test_a_failed_job_shows_its_sentence(tab: Train) -> None:
    tab.start(["votes"], **ASKED)
    assert tab.jobs.latest
    tab.jobs.latest.wait(120)
    seen = tab.seen()
    assert (seen.state, seen.record(1)["state"]) == ("error", "error")
    assert seen.sentence.startswith("None of these votes can train this (there is none at all): a vote counts where ")


def test_a_head_is_compared_with_what_it_began_from_else_with_what_is_used_else_with_the_untrained_one(
    tab: Train,
) -> None:
    folder, base = tab.parts.settings.trained_heads, tab.parts.shelf.base
    put(folder, "b-head", "adaptive-sequence", base=base)
    (only,) = tab.parts.shelf.refresh().heads
    assert parent_spec(tab.parts, only) == "random:per=reply"
    put(folder, "a-head", "adaptive-sequence", base=base)
    heads = {head.name: head for head in tab.parts.shelf.refresh().heads}
    assert parent_spec(tab.parts, heads["b-head"]) == "adaptive-sequence:checkpoint=a-head"
    child = replace(heads["a-head"], meta=replace(heads["a-head"].meta, parent=heads["b-head"].id))
    assert parent_spec(tab.parts, child) == "adaptive-sequence:checkpoint=b-head"
    for spec in ("random:per=reply", "adaptive-sequence:checkpoint=a-head"):
        assert tab.parts.catalogue.parse(spec)
    with pytest.raises(PlaygroundError, match="of the list"):
        tab.beside_parent("no-such-head")


def test_ratios_are_above_the_bars_of_their_temperature() -> None:
    chart = drawn_chart([[0.0, 3, 6], [0.2, 4, 0], [1.2, 0, 5]], "replies")
    assert [note.text for note in chart.layout.annotations] == ["0.50×", "only won", "0.00×"]
    assert [note.x for note in chart.layout.annotations] == [0, 1, 2]
    assert ratio(0, 0) == ""


def test_no_job_is_idle_and_says_nothing() -> None:
    assert view(None).record(0)["state"] == "idle"
    assert charts_of(view(None), "token", "tokens") == [None] * 4


def test_private_events_called_by_a_stranger_start_and_show_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    """`api_visibility` is no access control: anybody can call an event by its number."""
    monkeypatch.setattr(training_handlers, "COMMAND", ("false",))
    parts = tiny_parts(monkeypatch, replace(settings, cache_folder=tmp_path / "cache"), visitors=True)
    add_votes(parts, 1)
    put(settings.trained_heads, "head", base=parts.shelf.base)
    parts.shelf.refresh()
    begun: list[Any] = []
    monkeypatch.setattr(Jobs, "start", lambda self, *_: begun.append(1))
    with served(parts) as server:  # type: ignore[arg-type]
        for number, (name, data) in enumerate(TRAIN_EVENTS.items()):
            told = server.event(server.function(name), data, f"s{number}").decode()
            assert "process_completed" in told, name
            assert '"success":true' in told.replace(" ", ""), (name, told)
            assert "head" not in told.replace("Head", "").replace("heads", "") or "for the operator" in told, (
                name,
                told,
            )
            assert "votes can train" not in told
        assert begun == []
        ours = {fn.name for fn in server.page.fns.values() if getattr(fn.fn, "__module__", "") == "playground.ui.train"}
        assert ours == {*TRAIN_EVENTS, "handler"}, "promote and withdraw are asked in test_remote.py, the others here"
        cookie = cookie_of(server.page.operators)
        server.event(server.function("begin_count"), TRAIN_EVENTS["begin_count"], "here", Cookie=cookie)
        assert begun == [1], "the same call by the operator is heard"


def test_what_a_tick_compares_is_what_the_browser_holds(tab: Train) -> None:
    """A value that has been JSON comes back with lists for tuples: both must be the same text, or all is sent every second."""
    add_votes(tab.parts, 2)
    tab.count(["votes"], False, HERE)
    assert tab.jobs.latest
    tab.jobs.latest.wait(120)
    record = tab.seen().record(1)
    assert record["rows"]
    assert json.loads(encoded(record)) == record
