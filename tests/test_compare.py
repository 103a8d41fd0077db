"""Compare's handlers, called as Gradio calls them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from playground.config import Settings
from playground.decoding import engine
from playground.decoding.policies.base import Resources
from playground.decoding.trace import Event, Request
from playground.ui import notice
from playground.ui.compare import Compare
from playground.ui.runs import Runs
from tests.scripted import WORDS, ScriptedParts, measured_catalogue
from tests.tiny_lm import TinyLM

SPECS = ["adaptive-token", "fixed:temperature=0.7"]


@pytest.fixture
def tab(settings: Settings) -> Compare:
    return Compare(ScriptedParts(settings), Runs())  # type: ignore[arg-type]


def generate(tab: Compare, prompt: Any = "Tell me.", specs: Any = SPECS, seed: Any = 1, length: Any = 64) -> Any:
    return tab.generate(prompt, "", "", "", "", seed, length, specs)


def test_a_run_opens_with_its_heads_and_closes_with_everything(tab: Compare) -> None:
    outputs = list(generate(tab))
    first, last = outputs[0][0], outputs[-1][0]
    assert [head["title"] for head in first["heads"]]
    assert last["done"]
    assert [len(lane["tokens"]) for lane in last["lanes"]] == [len(WORDS) * 3, len(WORDS) * 2]
    assert len(outputs[-1][1].data) == len(outputs[-1][2].data) == 2


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
    ((message, *_),) = list(generate(tab, **asked))
    assert message["error"].endswith(".")
    assert "Traceback" not in message["error"]
    assert tab.parts.closed == []  # type: ignore[attr-defined]


def test_what_the_engine_refuses_before_it_starts_is_one_sentence(settings: Settings) -> None:
    tab = Compare(parts_with_tiny_lm(settings), Runs())
    ((message, *_),) = list(generate(tab, specs=["kl-guided", "fixed"]))
    assert "source document" in message["error"]
    ((message, *_),) = list(generate(tab, specs=["shuffled:of=2", "shuffled:of=1"]))
    assert "another lane that decides by itself" in message["error"]


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
        ((message, *_),) = list(generate(tab, specs=[name, "edt"]))
        assert "command line" in message["error"]
    assert tab.parts.closed == []  # type: ignore[attr-defined]


def test_the_third_chart_is_there_where_a_lane_has_a_channel(settings: Settings) -> None:
    tab = Compare(ScriptedParts(settings, catalogue=measured_catalogue()), Runs())  # type: ignore[arg-type]
    with_channel = list(generate(tab, specs=["edt", "measured"]))[-1][3]
    assert with_channel["visible"]
    assert [line.name for line in with_channel["value"].data] == ["Lane 2"]
    assert not list(generate(tab, specs=["edt", "edt"]))[-1][3]["visible"]


def test_closing_the_tab_stops_the_decoder_and_keeps_what_streamed(tab: Compare) -> None:
    stream = generate(tab)
    run = tab.runs.get(next(stream)[0]["run"])
    stream.close()
    assert run.stopped
    assert tab.parts.closed == [0]  # type: ignore[attr-defined]


def test_stop_draws_what_streamed(tab: Compare) -> None:
    stream = generate(tab)
    shown = next(stream)[0]
    message, temperature, entropy, *_ = tab.stop(shown)
    assert message["done"]
    assert len(temperature.data) == len(entropy.data) == 2
    assert list(stream)[-1][0]["done"]


def test_a_vote_needs_the_notice_and_is_stored_as_not_blind(tab: Compare) -> None:
    shown = list(generate(tab))[-1][0]
    assert "notice" in tab.vote("first", shown, "Lane 1", "Lane 2", None, False)[0]
    sentence, voter = tab.vote("first", shown, "Lane 1", "Lane 2", None, True)
    assert sentence.startswith("Saved")
    assert tab.vote("first", shown, "Lane 1", "Lane 2", voter, False)[0].startswith("Saved")  # a repeated click
    (record,) = list(tab.parts.store.preferences(include_unblind=True))
    assert (record.blind, record.outcome) == (False, "a")
    assert list(tab.parts.store.preferences()) == []
    assert tab.parts.store.agreed(voter, notice.VERSION)


@pytest.mark.parametrize(
    ("first", "second"), [("Lane 1", "Lane 1"), ("Lane 1", "Lane 4"), ("x", "Lane 1"), (None, None)]
)
def test_a_vote_on_lanes_that_are_not_there_is_refused(tab: Compare, first: Any, second: Any) -> None:
    shown = list(generate(tab))[-1][0]
    assert not tab.vote("first", shown, first, second, "v", True)[0].startswith("Saved")


def test_the_data_folder_is_not_served(tmp_path: Path) -> None:
    from playground.ui.page import launch_options

    options = launch_options(Settings(data_folder=tmp_path))
    assert str(tmp_path) in options["blocked_paths"]
    assert not options["run_history"]
    assert not options["show_error"]
