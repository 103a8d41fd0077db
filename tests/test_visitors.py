"""Nine visitors of one served page: eight decode in one batch, the ninth reads that it waits, and all get their own reply."""

from __future__ import annotations

import gc
import json
import threading
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch import Tensor

from playground import parts
from playground.config import Settings
from playground.decoding.scheduler import PLACES
from tests.serving import Served, served
from tests.tiny_lm import TinyLM, TinyOutput

pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
TOKENS = 24
SPECS = ["fixed:temperature=0.7", "edt"]


class Held(TinyLM):
    """Decodes slowly until `go` is set."""

    def __init__(self) -> None:
        super().__init__(end_bias=-99.0)
        self.go = threading.Event()

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
        self.go.wait(0.2)
        return super().forward(asks)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    monkeypatch.setattr(parts, "load_language_model", lambda *_: held)
    return held


@pytest.fixture
def server(model: Held, settings: Settings) -> Iterator[Served]:
    with served(parts.load_parts(settings, visitors=True)) as running:  # type: ignore[arg-type]
        yield running
    del running
    with warnings.catch_warnings():  # Gradio leaves its event loop open; it goes here, not in a test that comes later
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def join(server: Served, visitor: str, seed: int) -> None:
    data = ["Tell me.", "", "", "", "", seed, TOKENS, SPECS]
    server.post("queue/join", {"fn_index": server.function("generate"), "data": data, "session_hash": visitor})


def messages(server: Served, visitor: str) -> Iterator[str]:
    """What the board of this visitor is sent, as it comes: whole values and replacements of them."""
    with urllib.request.urlopen(f"{server.url}gradio_api/queue/data?session_hash={visitor}", timeout=60) as stream:
        for line in stream:
            told = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if told.get("msg") not in ("process_generating", "process_completed"):
                continue
            for value in told["output"]["data"]:  # none where the event was Stop
                yield value if isinstance(value, str) else value[-1][2] if value else ""


def texts(sent: Sequence[str]) -> list[str]:
    """The lanes' texts, put together as board.js does."""
    lanes: list[dict[int, str]] = [{}, {}]
    for message in map(json.loads, filter(None, sent)):
        for lane, part in zip(lanes, message.get("lanes", []), strict=False):
            lane.update({part["from"] + i: token[0] for i, token in enumerate(part["tokens"])})
    return ["".join(lane[i] for i in range(len(lane))) for lane in lanes]


def test_the_ninth_visitor_is_told_and_everybody_gets_the_reply_of_one_who_is_alone(
    server: Served, model: Held
) -> None:
    visitors = [f"visitor-{number}" for number in range(PLACES + 1)]
    for number, visitor in enumerate(visitors):
        join(server, visitor, number)
    told: dict[str, list[str]] = {visitor: [] for visitor in visitors}

    def listen(visitor: str) -> None:
        for message in messages(server, visitor):
            told[visitor].append(message)
            if "you are next" in message:
                model.go.set()

    with ThreadPoolExecutor(len(visitors)) as threads:
        list(threads.map(listen, visitors))
    waited = [visitor for visitor in visitors if any('"waiting"' in message for message in told[visitor])]
    assert len(waited) == 1
    alone = parts.load_parts(Settings())
    for number, visitor in enumerate(visitors):
        assert json.loads(told[visitor][-1] or told[visitor][-2])["done"]
        request = parts.Request("Tell me.", seed=number, max_tokens=TOKENS)
        assert texts(told[visitor]) == [trace.text for trace in alone.generate(request, SPECS)]


def test_stop_frees_the_place_of_one_who_decodes(server: Served, model: Held) -> None:
    visitors = [f"visitor-{number}" for number in range(PLACES + 1)]
    for number, visitor in enumerate(visitors):
        join(server, visitor, number)
    ended: dict[str, str] = {}
    waiting: list[str] = []

    def listen(visitor: str) -> None:
        for message in messages(server, visitor):
            if "you are next" in message and not waiting:
                waiting.append(visitor)
                for other in visitors:
                    stopping = {"fn_index": server.function("stop", 1), "data": [None], "session_hash": other}
                    if other != visitor:
                        server.post("queue/join", stopping)
            if '"heads"' in message and visitor in waiting:
                model.go.set()
            ended[visitor] = message or ended[visitor]

    with ThreadPoolExecutor(len(visitors)) as threads:
        list(threads.map(listen, visitors))
    by = {visitor: dict(json.loads(message)["figures"][0])["ended by"] for visitor, message in ended.items()}
    assert sorted(by.values()) == ["Stop"] * PLACES + ["length"]
