"""The streaming protocol: whatever is lost on the way, the text can be put together again."""

from __future__ import annotations

import random

import pytest

from playground.decoding.trace import LaneStep, Request
from playground.errors import PlaygroundError
from playground.ui.heading import Heading
from playground.ui.runs import Run
from playground.ui.wire import Batcher, Message, blind, snapshot
from tests.scripted import END, channels, header, measured_catalogue, step

REQUEST = Request("hello", max_tokens=400)
CATALOGUE = measured_catalogue()


def new_run(sealed: bool = False) -> Run:
    run = Run(REQUEST, 2, {END}, sealed=sealed)
    headings = [Heading(CATALOGUE.parse(spec)) for spec in ("measured", "fixed")]
    run.start([header(REQUEST, "a", 0), header(REQUEST, "b", 1)], headings)
    return run


def grow(run: Run, position: int) -> None:
    own = channels("measured", position)
    run.append(
        [LaneStep(lane, step(position, f"{lane}-{position} ", lane, None, {0: own}.get(lane))) for lane in (0, 1)]
    )


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
        assert [token[4:] for token in browser.tokens[lane]] == [own_values(i) if lane == 0 else [] for i in range(200)]
    assert (browser.resyncs > 0) == (lost > 0)


def own_values(position: int) -> list[float | None]:
    values = channels("measured", position)
    return [values.get("amount"), values["author"], values["running"]]


def test_the_order_of_a_tokens_channels_is_that_of_its_lanes_head() -> None:
    run = new_run()
    grow(run, 0)
    first = snapshot(run)
    assert [head["channels"] for head in first["heads"]] == [["amount", "author", "running"], []]
    assert first["lanes"][0]["tokens"][0][4:] == [None, 1.0, -1.0]  # the first step has no amount
    assert [scale["name"] for scale in first["scales"]] == ["amount", "author", "running"]


def test_passes_without_tokens_send_nothing_and_a_block_arrives_whole() -> None:
    run, now = new_run(), [0.0]
    batcher = Batcher(run, lambda: now[0])
    for _ in range(10):
        run.append(())
        now[0] += 1.0
        assert batcher.delta() is None
    run.append([LaneStep(1, step(i, f"{i} ", 1)) for i in range(8)])
    now[0] += 1.0
    message = batcher.delta()
    assert message
    assert message["seq"] == 1
    assert [len(lane["tokens"]) for lane in message["lanes"]] == [0, 8]


def test_a_lane_that_ends_without_a_new_token_says_so_at_once() -> None:
    run, now = new_run(), [1.0]
    batcher = Batcher(run, lambda: now[0], interval=0.0)
    grow(run, 0)
    assert [lane["ended"] for lane in batcher.delta()["lanes"]] == [False, False]  # type: ignore[index]
    run.append([LaneStep(0, step(1, "", token_id=END))])
    assert [lane["ended"] for lane in batcher.delta()["lanes"]] == [True, False]  # type: ignore[index]
    assert batcher.delta() is None


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
    assert last["notes"] == ["1 tokens aimed at 3.", ""]
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
