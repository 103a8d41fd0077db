"""The composition root: what the docstring promises a notebook works, and a wrong name is one sentence."""

from __future__ import annotations

import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from models.errors import ModelError
from models.language_model import LanguageModel
from playground import parts
from playground.config import Settings
from playground.decoding.trace import Request
from playground.errors import PlaygroundError
from tests.tiny_lm import TinyLM


@pytest.fixture
def tiny_parts(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> parts.Parts:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: TinyLM(end_bias=-99.0))
    return parts.load_parts(settings)


def test_the_lines_of_the_docstring_print_two_replies(
    embedded_model: LanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: embedded_model)
    assert parts.__doc__
    code = textwrap.dedent(parts.__doc__.partition("notebook:\n")[2])
    assert len(code.strip().splitlines()) == 3
    exec(code.replace('"Tell me a story."', '"Tell me a story.", max_tokens=8'), {})
    assert len(capsys.readouterr().out.split()) > 8


def test_a_checkpoint_that_does_not_exist_is_one_sentence(tiny_parts: parts.Parts) -> None:
    for name in ("no-such-head", ".hidden"):
        with pytest.raises((ModelError, PlaygroundError), match="checkpoint") as caught:
            tiny_parts.generate(Request("Hello."), [f"adaptive-token:checkpoint={name}"])
        assert "\n" not in str(caught.value)


def test_heads_of_another_model_are_listed_as_refused_and_not_offered(tiny_parts: parts.Parts) -> None:
    assert tiny_parts.heads == ()
    assert all("was trained on" in sentence for sentence in tiny_parts.refused_heads)
    with pytest.raises(PlaygroundError, match="No trained head fits tiny yet"):
        tiny_parts.generate(Request("Hello."), ["adaptive-token"])


def test_a_lane_decodes_again_alone_from_its_trace(tiny_parts: parts.Parts) -> None:
    first = tiny_parts.generate(Request("Hello.", seed=5, max_tokens=20), ["fixed", "edt", "fixed"])
    for trace in first:
        request = Request(trace.prompt, seed=trace.seed, max_tokens=20)
        assert tiny_parts.generate(request, [trace.policy], [trace.replica])[0].id == trace.id
    assert first[0].token_ids != first[2].token_ids


def test_a_folder_of_checkpoints_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(parts, "load_language_model", lambda *_: TinyLM())
    with pytest.raises(PlaygroundError, match="must be an existing folder"):
        parts.load_parts(replace(settings, checkpoints=settings.data_folder / "missing"))


def test_decoding_opens_no_database(tiny_parts: parts.Parts) -> None:
    tiny_parts.generate(Request("Hello.", max_tokens=2), ["fixed"])
    assert not tiny_parts.settings.data_folder.exists()
    assert tiny_parts.store is tiny_parts.store
    assert tiny_parts.settings.data_folder.exists()


@pytest.mark.parametrize("visitors", [False, True])
def test_one_thread_of_its_own_decodes_for_visitors_and_the_callers_for_one(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, visitors: bool
) -> None:
    threads: set[str] = set()

    class Watched(TinyLM):
        def forward(self, asks: Any) -> Any:
            threads.add(threading.current_thread().name)
            return super().forward(asks)

    monkeypatch.setattr(parts, "load_language_model", lambda *_: Watched())
    loaded = parts.load_parts(settings, visitors=visitors)
    with ThreadPoolExecutor(2 if visitors else 1, "caller") as pool:
        first, second = pool.map(lambda _: loaded.generate(Request("Hello.", max_tokens=5), ["fixed", "edt"]), range(2))
    assert [trace.id for trace in first] == [trace.id for trace in second]
    assert threads == {"decoding" if visitors else "caller_0"}
