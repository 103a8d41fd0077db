"""ZeroGPU: one decorated call decodes all lanes; without the `spaces` package nothing is decorated."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from playground import parts
from playground.decoding.trace import Request
from playground.zero_gpu import on_gpu, seconds_wanted
from tests.tiny_lm import TinyLM

SPACES = """
decorated, calls = [], []

def GPU(duration):
    def decorate(function):
        decorated.append(function)
        def call(*arguments):
            calls.append(duration(*arguments))
            yield from function(*arguments)
        return call
    return decorate
"""


def test_all_lanes_decode_in_one_call_of_the_one_decorated_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spaces.py").write_text(SPACES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spaces", raising=False)
    threads: set[str] = set()

    class Watched(TinyLM):
        def forward(self, asks: Any) -> Any:
            threads.add(threading.current_thread().name)
            return super().forward(asks)

    monkeypatch.setattr(parts, "load_language_model", lambda *_: Watched())
    try:
        loaded = parts.load_parts(visitors=True)
        spaces = importlib.import_module("spaces")
        traces = loaded.generate(Request("Hello.", max_tokens=20), ["fixed", "edt", "shuffled:of=2"])
        assert len(traces) == 3
        assert all(trace.steps for trace in traces)
        assert len(spaces.decorated) == 1
        assert spaces.calls == [12]
        assert threads == {threading.current_thread().name}, "no thread but the caller's decodes"
    finally:
        sys.modules.pop("spaces", None)


@pytest.mark.skipif(importlib.util.find_spec("spaces") is not None, reason="the `spaces` package is installed")
def test_without_the_package_the_function_stays_itself() -> None:
    def decode(request: Request, specs: tuple[str, ...], replicas: tuple[int, ...] | None) -> object:
        raise AssertionError

    assert on_gpu(decode) is decode  # type: ignore[arg-type]


def test_longer_requests_and_second_passes_ask_for_more_seconds() -> None:
    short, long = Request("x", max_tokens=1), Request("x", max_tokens=400)
    assert seconds_wanted(short, ("fixed",)) == 11
    assert seconds_wanted(long, ("fixed",)) == 30
    assert seconds_wanted(long, ("edt", "shuffled:of=1")) == 50
