"""The streaming protocol: whatever is lost on the way, the text can be put together again."""

from __future__ import annotations

import random

import pytest

from playground.decoding.trace import LaneStep, Request
from playground.errors import PlaygroundError
from playground.ui.runs import Run
from playground.ui.wire import Batcher, Message, blind, snapshot
from tests.scripted import END, header, step

REQUEST = Request("hello")


def new_run(sealed: bool = False) -> Run:
    run = Run(REQUEST, 2, {END}, sealed=sealed)
    run.start([header(REQUEST, "a", 0), header(REQUEST, "b", 1)], [{"title": "A"}, {"title": "B"}])
    return run


def grow(run: Run, position: int) -> None:
    run.append([LaneStep(lane, step(position, f"{lane}-{position} ", lane)) for lane in (0, 1)])


class Browser:
    """What board.js does with messages."""

    def __init__(self, run: Run) -> None:
        self.run, self.tokens, self.resyncs = run, [[], []], 0

    def take(self, message: Message) -> None:
        if any(lane["from"] > len(have) for lane, have in zip(message["lanes"], self.tokens, strict=True)):
            self.resyncs += 1
            message = snapshot(self.run)
        for lane, have in zip(message["lanes"], self.tokens, strict=True):
            have.extend(lane["tokens"][max(len(have) - lane["from"], 0) :])


@pytest.mark.parametrize("lost", [0.0, 0.3, 0.8])
def test_no_token_is_lost_or_doubled_however_many_messages_are(lost: float) -> None:
    run, now, chance = new_run(), [0.0], random.Random(7)
    batcher = Batcher(run, lambda: now[0])
    browser = Browser(run)
    for position in range(200):
        grow(run, position)
        now[0] += 0.03
        message = batcher.delta()
        if message and chance.random() >= lost:
            browser.take(message)
    run.cancel()
    browser.take(batcher.last())
    for lane in (0, 1):
        assert [token[0] for token in browser.tokens[lane]] == [f"{lane}-{i} " for i in range(200)]
    assert (browser.resyncs > 0) == (lost > 0)


def test_messages_are_batched_by_time_and_numbered_without_gaps() -> None:
    run, now = new_run(), [0.0]
    batcher, messages = Batcher(run, lambda: now[0]), []
    for position in range(100):
        grow(run, position)
        now[0] += 0.01
        messages += [message for message in [batcher.delta()] if message]
    assert 9 <= len(messages) <= 10
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
    assert not any("heads" in message for message in messages)


def test_a_stopped_run_closes_with_everything_and_its_figures() -> None:
    run = new_run()
    grow(run, 0)
    assert "figures" not in snapshot(run)
    run.cancel()
    last = snapshot(run)
    assert last["done"] is True
    assert len(last["figures"]) == 2
    assert len(last["lanes"][0]["tokens"]) == 1


def test_a_blind_message_holds_text_and_nothing_else() -> None:
    run = new_run(sealed=True)
    grow(run, 0)
    assert blind(run, "token", 3) == {
        "battle": "token",
        "run": run.id,
        "seq": 3,
        "text": ["0-0 ", "1-0 "],
        "done": False,
    }
    with pytest.raises(PlaygroundError, match="after the vote"):
        snapshot(run)
