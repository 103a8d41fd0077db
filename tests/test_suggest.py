"""suggest-t: the sweep decodes what it says, keeps what was finished, and refuses in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest

from playground import parts
from playground.__main__ import main
from playground.config import Settings
from playground.decoding.trace import Request
from playground.errors import PlaygroundError
from playground.suggest import Sweep, read_prompts, said
from playground.ui import suggest as suggest_tab
from playground.ui.places import Places
from playground.ui.suggest import SuggestT, curve_chart, put, suggestion_chart
from tests.scripted import ScriptedParts
from tests.tiny_lm import TinyLM

VISITOR: Any = SimpleNamespace(session_hash="one page")
SWEEP = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4)


@pytest.fixture
def tiny_parts(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> parts.Parts:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: TinyLM(end_bias=-99.0))
    return parts.load_parts(settings)


def test_a_sweeps_figures_are_those_of_the_fixed_lanes_it_stands_for(tiny_parts: parts.Parts) -> None:
    request = Request("Hello.", seed=4, max_tokens=12)
    sweep = Sweep(tiny_parts, [request], SWEEP, samples=3)
    last = list(sweep.run())[-1]
    assert (last.batch, last.batches, last.token) == (1, 2, 12)
    for t in SWEEP:
        traces = tiny_parts.generate(request, [f"fixed:temperature={t}"] * 3)
        assert sweep.entropies[t] == pytest.approx([fmean(s.entropy_after for s in trace.steps) for trace in traces])


def test_more_samples_begin_with_the_same_replies(tiny_parts: parts.Parts) -> None:
    few, many = (Sweep(tiny_parts, [Request("Hello.", max_tokens=6)], SWEEP, samples=n) for n in (1, 4))
    for sweep in (few, many):
        list(sweep.run())
    assert all(many.entropies[t][:1] == few.entropies[t] for t in SWEEP)


def test_every_prompt_is_swept_and_the_curve_is_their_mean(tiny_parts: parts.Parts) -> None:
    requests = [Request(prompt, max_tokens=6) for prompt in ("One.", "Two.")]
    both = Sweep(tiny_parts, requests, SWEEP)
    last = list(both.run())[-1]
    alone = [Sweep(tiny_parts, [request], SWEEP) for request in requests]
    for sweep in alone:
        list(sweep.run())
    for t in SWEEP:
        assert both.entropies[t] == alone[0].entropies[t] + alone[1].entropies[t]
        assert last.curve[t] == pytest.approx(fmean(both.entropies[t]))
    assert both.suggestion().replies == 4


def test_a_closed_sweep_stops_the_decoder_and_keeps_only_finished_batches(settings: Settings) -> None:
    scripted = ScriptedParts(settings)
    sweep = Sweep(scripted, [Request("Hello.", max_tokens=20)], SWEEP)  # type: ignore[arg-type]
    run = sweep.run()
    assert "Token 1 of at most 20" in said(next(run))
    run.close()
    assert scripted.closed == [0]
    assert not any(sweep.entropies.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Sweep(p, [Request("Hello.")], (0.5, 1.0)),
        lambda p: Sweep(p, [Request("Hello.")], (0.0, *SWEEP)),
        lambda p: Sweep(p, [Request("Hello.")], (*SWEEP, SWEEP[0])),
        lambda p: Sweep(p, [Request("Hello.")], (*SWEEP, float("nan"))),
        lambda p: Sweep(p, [Request("Hello.")], (*SWEEP, 9.0)),
        lambda p: Sweep(p, [Request("Hello.")], SWEEP, 0),
        lambda p: Sweep(p, [Request("Hello.")], SWEEP, 1000),
        lambda p: Sweep(p, []),
    ],
)
def test_a_sweep_that_cannot_be_is_one_sentence(make: Callable[[Any], Sweep], settings: Settings) -> None:
    with pytest.raises(PlaygroundError) as caught:
        make(ScriptedParts(settings))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id": "a"}]', "nonsense"])
def test_a_file_that_holds_no_prompts_is_one_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(text, encoding="utf-8")
    for path in (file, tmp_path / "missing.json"):
        with pytest.raises(PlaygroundError, match="JSON list of objects with the key prompt"):
            read_prompts(path, Request(""))


def test_the_command_prints_one_object_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: TinyLM(end_bias=-99.0))
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([{"prompt": "One.", "prefill": "It is"}, {"prompt": "Two."}]), encoding="utf-8")
    ask = ["suggest-t", "--prompts", str(file), "--limit", "1", "--prompt", "Hello.", "--max-tokens", "6", "--json"]
    printed = []
    for _ in range(2):
        assert main(ask, {"PLAYGROUND_DATA_FOLDER": str(tmp_path)}) == 0
        printed.append(capsys.readouterr())
    assert printed[0] == printed[1]
    assert printed[0].err == ""
    record = json.loads(printed[0].out)
    assert record["format"] == "suggest-t/1"
    assert len(record["temperatures"]) == len(record["entropies"]) == 14
    assert (record["vote"] is None) == ("No clear turning point" in record["sentence"])
    assert main([*ask[:-1], "--temperatures", "0.2,0.4,x"], {}) == 2
    assert main(["suggest-t"], {}) == 2
    assert [line.count("\n") for line in capsys.readouterr().err.splitlines(keepends=True)] == [1, 1]


def test_the_page_tells_progress_then_the_sentence_and_draws_the_curve(tiny_parts: parts.Parts) -> None:
    tab = SuggestT(tiny_parts, Places(1))
    assert tab.found(VISITOR) is None
    told = list(tab.sweep("Hello.", 1, VISITOR))
    sentence, figure, found = told[-1]
    assert sentence.endswith(".")
    assert (found is None) == sentence.startswith("No clear turning point")
    assert tab.found(VISITOR) == found
    assert len(figure.data[0].x) == 14
    for prompts, count in ((" \n\n", 0), ("One.\n" * 17, 17)):
        refused = [row[0] for row in tab.sweep(prompts, 1, VISITOR)]
        assert refused == [f"Write 1 to 16 prompts of one task, one a line; there are {count}."]


def test_the_page_sweeps_every_prompt_of_the_task(tiny_parts: parts.Parts) -> None:
    *_, (sentence, figure, _) = SuggestT(tiny_parts, Places(1)).sweep("One.\n\n  Two. \n", 3, VISITOR)
    both = Sweep(
        tiny_parts,
        [Request(prompt, seed=3, max_tokens=suggest_tab.TOKENS) for prompt in ("One.", "Two.")],
        samples=suggest_tab.SAMPLES,
    )
    list(both.run())
    assert both.suggestion().sentence == sentence
    assert list(figure.data[0].y) == list(both.suggestion().entropies)


def test_stop_ends_ones_own_sweep_also_while_it_waits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggest_tab, "INTERVAL", 0.0)
    scripted, another = ScriptedParts(settings), SimpleNamespace(session_hash="another page")
    tab = SuggestT(scripted, Places(1))  # type: ignore[arg-type]
    decoding = tab.sweep("Hello.", 1, another)  # type: ignore[arg-type]
    next(decoding)
    waits = tab.sweep("Hello.", 1, VISITOR)
    assert "you are next" in next(waits)[0]
    tab.stop(VISITOR)
    assert [row[0] for row in waits] == ["Stopped; nothing is suggested from half a sweep."]
    assert scripted.closed == []
    *_, (sentence, _, _) = decoding
    assert "published rule" in sentence


def test_a_new_sweep_ends_the_one_before(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggest_tab, "INTERVAL", 0.0)
    scripted = ScriptedParts(settings)
    tab = SuggestT(scripted, Places(2))  # type: ignore[arg-type]
    first = tab.sweep("Hello.", 1, VISITOR)
    next(first)
    second = tab.sweep("Hello.", 1, VISITOR)
    next(second)
    assert [row[0] for row in first] == ["Stopped; nothing is suggested from half a sweep."]
    *_, (sentence, _, _) = second
    assert "published rule" in sentence


def test_the_chart_marks_a_turning_point_only_where_there_is_one() -> None:
    from playground.analysis.suggest_temperature import suggest

    straight = suggest({t: [t] for t in SWEEP})
    turning = suggest({t: [t * 2.718 ** (t * t)] for t in SWEEP})
    assert len(suggestion_chart(straight).layout.shapes) == 0
    assert len(suggestion_chart(turning).layout.shapes) == 2
    assert curve_chart({}).data[0].x == ()


def test_what_was_found_goes_into_the_last_fixed_lane() -> None:
    lanes = ["fixed:temperature=0.5", "fixed", "edt"]
    assert put(0.876, lanes) == ["fixed:temperature=0.5", "fixed:temperature=0.88", "edt"]
    assert put(0.876, ["edt", "aldr"]) == ["edt", "fixed:temperature=0.88"]
    for value, specs in ((None, lanes), (0.8, None), (0.8, [1, 2])):
        assert not isinstance(put(value, specs), list)
