"""Compare's handlers, called as Gradio calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from playground.config import Settings
from playground.decoding import engine
from playground.decoding.policies.base import Resources
from playground.decoding.trace import Event, Request, Waiting
from playground.errors import PlaygroundError
from playground.ui import notice
from playground.ui.compare import Compare
from playground.ui.places import Places
from playground.ui.runs import Runs
from tests.scripted import WORDS, ScriptedParts, measured_catalogue
from tests.tiny_lm import TinyLM

SPECS = ["adaptive-token", "fixed:temperature=0.7"]
VISITOR: Any = SimpleNamespace(session_hash="one page")


@pytest.fixture
def tab(settings: Settings) -> Compare:
    return Compare(ScriptedParts(settings), Runs(), Places(1))  # type: ignore[arg-type]


def generate(
    tab: Compare, prompt: Any = "Tell me.", specs: Any = SPECS, seed: Any = 1, length: Any = 64, visitor: Any = VISITOR
) -> Iterator[dict[str, Any]]:
    return map(json.loads, tab.generate(prompt, "", "", "", "", seed, length, specs, visitor))


def test_a_run_opens_with_its_heads_and_closes_with_its_figures(tab: Compare) -> None:
    messages = list(generate(tab))
    first, last = messages[0], messages[-1]
    assert [head["title"] for head in first["heads"]]
    assert last["done"]
    assert [message["done"] for message in messages[:-1]] == [False] * (len(messages) - 1)
    sent = [sum(len(message["lanes"][lane]["tokens"]) for message in messages) for lane in (0, 1)]
    assert sent == [len(WORDS) * 3, len(WORDS) * 2]
    assert len(last["figures"]) == len(last["notes"]) == 2
    temperature, entropy, _, shown = tab.after(None, VISITOR)
    assert len(temperature["value"].data) == len(entropy["value"].data) == 2
    assert shown["visible"]


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": "  "},
        {"prompt": "x" * 100_000},
        {"prompt": None},
        {"specs": ["nonsense", "edt"]},
        {"specs": ["edt"]},
        {"specs": "edt"},
        {"specs": ["fixed:temperature=99", "edt"]},
        {"seed": None},
        {"length": 100_000},
    ],
)
def test_bad_input_is_one_sentence_and_starts_nothing(tab: Compare, asked: dict[str, Any]) -> None:
    (message,) = list(generate(tab, **asked))
    assert message["error"].endswith(".")
    assert "Traceback" not in message["error"]
    assert tab.parts.closed == []  # type: ignore[attr-defined]


def test_what_the_engine_refuses_before_it_starts_is_one_sentence(settings: Settings) -> None:
    tab = Compare(parts_with_tiny_lm(settings), Runs(), Places(1))
    (message,) = list(generate(tab, specs=["kl-guided", "fixed"]))
    assert "source document" in message["error"]
    (message,) = list(generate(tab, specs=["shuffled:of=2", "shuffled:of=1"]))
    assert "choose one that decides by itself" in message["error"]


def parts_with_tiny_lm(settings: Settings) -> Any:
    """The engine itself behind the handlers, on TinyLM and without any checkpoint."""

    class EngineParts(ScriptedParts):
        def stream(self, request: Request, specs: Sequence[str], replicas: Any = None) -> Iterator[Event]:
            rows = engine.rows_of(request, [self.catalogue.parse(spec) for spec in specs])
            return engine.stream(TinyLM(), request, rows, Resources(lambda name: pytest.fail(name)))

    return EngineParts(settings)


def test_a_policy_that_shows_nothing_before_its_end_is_left_to_the_command_line(tab: Compare) -> None:
    hidden = [kind.name for kind in tab.parts.catalogue.kinds if not kind.streams]
    assert hidden
    for name in hidden:
        (message,) = list(generate(tab, specs=[name, "edt"]))
        assert "command line" in message["error"]
    assert tab.parts.closed == []  # type: ignore[attr-defined]


def test_the_third_chart_is_there_where_a_lane_has_a_channel(settings: Settings) -> None:
    tab = Compare(ScriptedParts(settings, catalogue=measured_catalogue()), Runs(), Places(1))  # type: ignore[arg-type]
    list(generate(tab, specs=["edt", "measured"]))
    with_channel = tab.after(None, VISITOR)[2]
    assert with_channel["visible"]
    assert [line.name for line in with_channel["value"].data] == ["Lane 2"]
    list(generate(tab, specs=["edt", "edt"]))
    assert not tab.after(None, VISITOR)[2]["visible"]
    assert tab.after(json.dumps({"overlay": "entropy"}), VISITOR)[0]["value"].layout.title.text == "Entropy by position"


def test_closing_the_tab_stops_the_decoder_and_keeps_what_streamed(tab: Compare) -> None:
    stream = tab.generate("Tell me.", "", "", "", "", 1, 64, SPECS, VISITOR)
    run = tab.runs.get(json.loads(next(stream))["run"])
    stream.close()  # type: ignore[attr-defined]
    assert run.stopped
    assert tab.parts.closed == [0]  # type: ignore[attr-defined]
    assert list(generate(tab))[-1]["done"]  # its place is free


def test_stop_closes_the_run_with_what_streamed_and_then_draws_it(tab: Compare) -> None:
    stream = generate(tab)
    first = next(message for message in stream if message["lanes"][0]["tokens"])
    assert tab.after(None, VISITOR)[0] == gr.skip()  # nothing is drawn of a run that streams
    tab.stop(json.dumps(first), VISITOR)
    rest = list(stream)
    assert rest[-1]["done"]
    assert tab.parts.closed[0] < len(WORDS)  # type: ignore[attr-defined]
    assert len(tab.after(None, VISITOR)[0]["value"].data) == 2


def test_of_a_run_stopped_before_its_first_token_no_chart_is_shown(tab: Compare) -> None:
    stream = generate(tab)
    tab.stop(json.dumps(next(stream)), VISITOR)
    assert [lane["tokens"] for lane in list(stream)[-1]["lanes"]] == [[], []]
    *plots, shown = tab.after(None, VISITOR)
    assert [plot["visible"] for plot in plots] == [False] * 3
    assert shown["visible"]


def test_stop_ends_ones_own_run_alone_and_is_no_error_without_one(tab: Compare) -> None:
    tab.places = Places(2)
    others = generate(tab, visitor=SimpleNamespace(session_hash="another page"))
    shown = json.dumps(next(others))
    for pressed in (shown, None, "", "[1]", 5, {"run": None}):
        tab.stop(pressed, VISITOR)
    assert len(list(others)) > 1
    assert tab.parts.closed == [len(WORDS) * 3 + 1]  # type: ignore[attr-defined]


def test_generating_again_ends_the_run_before_and_both_streams_close(tab: Compare) -> None:
    tab.places = Places(2)
    first = generate(tab)
    old = next(first)["run"]
    second = generate(tab, prompt="Again.")
    new = next(second)["run"]
    assert tab.runs.get(old).stopped
    assert list(first)[-1]["run"] == old
    last = list(second)[-1]
    assert (last["run"], last["done"]) == (new, True)
    assert tab.runs.get(new).request.prompt == "Again."


def test_stop_means_the_run_that_was_shown_and_before_any_was_the_one_just_begun(tab: Compare) -> None:
    tab.places = Places(3)
    old = json.dumps(next(generate(tab)))
    stream = generate(tab)
    next(stream)
    tab.stop(old, VISITOR)  # pressed while the old run went on, at the same instant as Generate
    last = list(stream)[-1]
    assert dict(last["figures"][0])["ended by"] == "end token"
    stream = generate(tab)
    next(stream)
    tab.stop(json.dumps(last), VISITOR)  # the board still shows the run before, which had ended
    assert dict(list(stream)[-1]["figures"][0])["ended by"] == "Stop"


def test_one_who_waits_is_told_so_and_may_stop_before_the_turn_comes(tab: Compare) -> None:
    decoding = generate(tab, visitor=SimpleNamespace(session_hash="another page"))
    next(decoding)
    waits = generate(tab)
    shown = next(waits)
    assert "you are next" in shown["waiting"]
    tab.stop(json.dumps(shown), VISITOR)
    assert list(waits)[-1]["done"]
    assert tab.parts.closed == []  # type: ignore[attr-defined]
    waits = generate(tab)
    run = next(waits)["run"]
    assert list(decoding)[-1]["done"]
    last = list(waits)[-1]
    assert (last["run"], last["done"], len(last["figures"])) == (run, True, 2)


def test_the_decoders_own_queue_is_told_of_too(settings: Settings) -> None:
    class Busy(ScriptedParts):
        def stream(self, request: Request, specs: Sequence[str], replicas: Any = None) -> Iterator[Event]:
            yield from (Waiting(2), Waiting(2), Waiting(0))
            yield from super().stream(request, specs)

    messages = list(generate(Compare(Busy(settings), Runs(), Places(40, 0))))  # type: ignore[arg-type]
    told = [message["waiting"] for message in messages if "waiting" in message]
    assert ["2 visitors" in sentence for sentence in told] == [True, True, False]
    assert messages[3]["heads"]
    assert messages[-1]["done"]


def test_what_fails_on_the_way_keeps_what_streamed_and_says_why(settings: Settings) -> None:
    class Failing(ScriptedParts):
        def stream(self, request: Request, specs: Sequence[str], replicas: Any = None) -> Iterator[Event]:
            for number, event in enumerate(super().stream(request, specs)):
                if number == 5:
                    raise PlaygroundError("The model produced NaN.")
                yield event

    tab = Compare(Failing(settings), Runs(), Places(1))  # type: ignore[arg-type]
    messages = list(generate(tab))
    last = messages[-1]
    assert (last["error"], last["done"]) == ("The model produced NaN.", True)
    assert sum(len(message["lanes"][0]["tokens"]) for message in messages) == 4
    assert dict(last["figures"][0])["ended by"] == "error"


def test_a_vote_needs_the_notice_and_is_stored_as_not_blind(tab: Compare) -> None:
    assert "generate again" in tab.vote("first", "Lane 1", "Lane 2", None, True, None, VISITOR)[0]
    shown = json.dumps(list(generate(tab))[-1])
    assert "notice" in tab.vote("first", "Lane 1", "Lane 2", None, False, shown, VISITOR)[0]
    sentence, voter = tab.vote("first", "Lane 1", "Lane 2", None, True, shown, VISITOR)
    assert sentence.startswith("Saved")
    again = tab.vote("first", "Lane 1", "Lane 2", voter, False, shown, VISITOR)  # a repeated click
    assert again[0].startswith("Saved")
    (record,) = list(tab.parts.store.preferences(include_unblind=True))
    assert (record.blind, record.outcome) == (False, "a")
    assert list(tab.parts.store.preferences()) == []
    assert tab.parts.store.agreed(voter, notice.VERSION)


@pytest.mark.parametrize(
    ("first", "second"), [("Lane 1", "Lane 1"), ("Lane 1", "Lane 4"), ("x", "Lane 1"), (None, None)]
)
def test_a_vote_on_lanes_that_are_not_there_is_refused(tab: Compare, first: Any, second: Any) -> None:
    shown = json.dumps(list(generate(tab))[-1])
    assert not tab.vote("first", first, second, "v", True, shown, VISITOR)[0].startswith("Saved")


def test_after_a_refusal_nothing_of_the_run_before_can_be_voted_on(tab: Compare) -> None:
    done = json.dumps(list(generate(tab))[-1])
    (refusal,) = list(generate(tab, prompt=""))
    shown = json.dumps(refusal)
    assert tab.after(shown, VISITOR)[3] == gr.update(visible=False)
    assert "generate again" in tab.vote("first", "Lane 1", "Lane 2", "v", True, shown, VISITOR)[0]
    list(generate(tab))
    assert "generate again" in tab.vote("first", "Lane 1", "Lane 2", "v", True, done, VISITOR)[0]
    assert list(tab.parts.store.preferences(include_unblind=True)) == []


def test_the_vote_row_offers_the_lanes_that_came_to_their_end_and_forgets_what_it_said(tab: Compare) -> None:
    list(generate(tab, specs=["edt", "fixed", "adaptive-token"]))
    offered, why_not, first, second, said, *buttons = tab.lanes("Lane 3", "Lane 3", VISITOR)
    assert (offered["visible"], why_not, said) == (True, "", "")
    assert [button["interactive"] for button in buttons] == [True] * 4
    assert first["choices"] == second["choices"] == ["Lane 1", "Lane 2", "Lane 3"]
    assert (first["value"], second["value"]) == ("Lane 3", "Lane 1")
    list(generate(tab))
    _, _, first, second, *_ = tab.lanes("Lane 1", "Lane 3", VISITOR)
    assert (first["choices"], first["value"], second["value"]) == (["Lane 1", "Lane 2"], "Lane 1", "Lane 2")
    stream = generate(tab)
    tab.stop(json.dumps(next(stream)), VISITOR)
    list(stream)
    offered, why_not, first, *_ = tab.lanes("Lane 1", "Lane 2", VISITOR)
    assert (offered["visible"], first["choices"]) == (False, [])
    assert why_not.endswith(".")


def test_two_replies_take_one_vote_whatever_their_order(tab: Compare) -> None:
    shown = json.dumps(list(generate(tab, specs=["edt", "fixed", "adaptive-token"]))[-1])
    open_, shut = gr.update(interactive=True), gr.update(interactive=False)
    assert tab.chosen("Lane 1", "Lane 2", VISITOR) == ["", *[open_] * 4]
    voter = tab.vote("second", "Lane 2", "Lane 1", None, True, shown, VISITOR)[1]
    assert tab.vote("first", "Lane 1", "Lane 2", voter, False, shown, VISITOR)[0].startswith("Saved")  # the same vote
    for choice, first, second in (
        ("tie", "Lane 2", "Lane 1"),
        ("first", "Lane 2", "Lane 1"),
        ("both_bad", "Lane 1", "Lane 2"),
    ):
        told = tab.vote(choice, first, second, voter, False, shown, VISITOR)[0]
        assert told == "You have voted on these two replies; choose another lane, or generate again."
    (record,) = list(tab.parts.store.preferences(include_unblind=True))
    assert record.outcome == "a"
    for pair in (("Lane 1", "Lane 2"), ("Lane 2", "Lane 1")):
        assert tab.chosen(*pair, VISITOR) == ["Saved, marked as not blind.", *[shut] * 4]
    assert tab.chosen("Lane 1", "Lane 3", VISITOR) == ["", *[open_] * 4]
    for odd in (("x", "Lane 1"), (None, None), ("Lane 1", "Lane 1")):
        assert tab.chosen(*odd, VISITOR) == ["", *[open_] * 4]
    assert tab.vote("tie", "Lane 3", "Lane 1", voter, False, shown, VISITOR)[0].startswith("Saved")


def test_the_data_folder_is_not_served(tmp_path: Path) -> None:
    from playground.ui.page import launch_options

    options = launch_options(Settings(data_folder=tmp_path))
    assert str(tmp_path) in options["blocked_paths"]
    assert not options["run_history"]
    assert not options["show_error"]
