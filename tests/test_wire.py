"""The streaming protocol: whatever is lost on the way, the text can be put together again."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from playground.decoding.trace import LaneStep, Request
from playground.errors import PlaygroundError
from playground.ui import arena, wire
from playground.ui.heading import Heading
from playground.ui.runs import Run
from playground.ui.wire import Batcher, Message, blind, encoded, queue_sentence, refusal, snapshot, waiting
from tests.scripted import END, channels, header, measured_catalogue, step

REQUEST = Request("hello", max_tokens=400)
CATALOGUE = measured_catalogue()


def new_run(sealed: bool = False) -> Run:
    run = Run(REQUEST, 2, sealed=sealed)
    headings = [Heading(CATALOGUE.parse(spec)) for spec in ("measured", "fixed")]
    run.start([header(REQUEST, "a", 0), header(REQUEST, "b", 1)], headings)
    return run


def grow(run: Run, position: int) -> None:
    own = channels("measured", position)
    run.append(
        [LaneStep(lane, step(position, f"{lane}-{position} ", lane, None, {0: own}.get(lane))) for lane in (0, 1)]
    )


def batcher_of(run: Run, now: list[float], interval: float = 0.1) -> Batcher:
    return Batcher(run, lambda: now[0], lambda: interval)


class Browser:
    """What board.js does with messages."""

    def __init__(self, run: Run) -> None:
        self.run, self.tokens, self.resyncs = run, [[], []], 0

    def take(self, message: Message) -> None:
        if any(lane["from"] > len(have) for lane, have in zip(message["lanes"], self.tokens, strict=True)):
            self.resyncs += 1
            message = snapshot(self.run, [len(have) for have in self.tokens])
        for lane, have in zip(message["lanes"], self.tokens, strict=True):
            have[lane["from"] : lane["from"] + len(lane["tokens"])] = lane["tokens"]


@pytest.mark.parametrize("lost", [0.0, 0.3, 0.8])
def test_no_token_is_lost_or_doubled_however_many_messages_are(lost: float) -> None:
    run, now, chance = new_run(), [0.0], random.Random(7)
    batcher = batcher_of(run, now)
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


def test_every_token_is_rendered_once_however_long_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    run, now, rendered = new_run(), [0.0], []
    batcher = batcher_of(run, now)
    monkeypatch.setattr(
        wire, "wire_token", lambda step, names: rendered.append(step.text) or [step.text, 0.0, 0.0, 0.0]
    )
    for position in range(300):
        grow(run, position)
        now[0] += 0.05
        batcher.delta()
    run.cancel()
    batcher.last()
    assert sorted(rendered) == sorted(f"{lane}-{i} " for lane in (0, 1) for i in range(300))


def test_a_resync_holds_what_the_browser_lacks_and_no_more() -> None:
    run = new_run()
    for position in range(20):
        grow(run, position)
    assert [len(lane["tokens"]) for lane in snapshot(run, [20, 5])["lanes"]] == [0, 15]
    for nonsense in ((), (1,), (99, 99, 99)):
        assert [lane["from"] for lane in snapshot(run, nonsense)["lanes"]] == [0, 0]
    ahead = snapshot(run, [99, 99])
    assert [(lane["from"], lane["tokens"]) for lane in ahead["lanes"]] == [(20, []), (20, [])]


def test_a_text_that_changed_at_the_end_is_sent_again_and_nothing_before_it() -> None:
    run, now, browser = new_run(), [0.0], None
    batcher = batcher_of(run, now)
    browser = Browser(run)
    for position in range(10):
        grow(run, position)
    now[0] += 1.0
    browser.take(batcher.delta())  # type: ignore[arg-type]
    steps = [[*run.steps(lane)] for lane in (0, 1)]
    steps[0][8] = replace(steps[0][8], text="é")  # what was held back joins a token that was sent
    run.finish([header(REQUEST, "a", lane).with_steps(steps[lane], "length") for lane in (0, 1)])
    last = batcher.last()
    assert [lane["from"] for lane in last["lanes"]] == [8, 10]
    browser.take(last)
    assert [token[0] for token in browser.tokens[0]] == [*(f"0-{i} " for i in range(8)), "é", "0-9 "]


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
    batcher = batcher_of(run, now)
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
    batcher = batcher_of(run, now, 0.0)
    grow(run, 0)
    assert [lane["ended"] for lane in batcher.delta()["lanes"]] == [False, False]  # type: ignore[index]
    run.append([LaneStep(0, step(1, "", token_id=END), "end")])
    assert [lane["ended"] for lane in batcher.delta()["lanes"]] == [True, False]  # type: ignore[index]
    assert batcher.delta() is None


def test_messages_are_batched_by_time_and_numbered_without_gaps() -> None:
    run, now = new_run(), [0.0]
    batcher, messages = batcher_of(run, now), []
    for position in range(100):
        grow(run, position)
        now[0] += 0.01
        messages += [message for message in [batcher.delta()] if message]
    assert 10 <= len(messages) <= 11  # the first token does not wait
    assert [len(lane["tokens"]) for lane in messages[0]["lanes"]] == [1, 1]
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


def test_a_message_is_one_string_that_spells_no_tag() -> None:
    run = new_run()
    run.append([LaneStep(0, step(0, "</script><b>é"))])
    text = encoded(snapshot(run))
    assert "<" not in text
    assert json.loads(text)["lanes"][0]["tokens"][0][0] == "</script><b>é"


def test_one_who_waits_is_told_how_many_are_before_and_one_refused_why() -> None:
    run = Run(REQUEST, 2)
    assert waiting(run, 0)["waiting"] == queue_sentence(0)
    assert "next" in queue_sentence(0)
    assert "one visitor is before you" in queue_sentence(1)
    assert "7 visitors are before you" in queue_sentence(7)
    assert "Stop" in queue_sentence(0)
    assert "Stop" not in queue_sentence(0, arena.WAY_OUT)  # there is no such button in the Arena
    assert refusal("No.") == {"run": None, "error": "No."}


def test_a_run_that_was_stopped_before_it_began_closes_empty() -> None:
    run, now = Run(REQUEST, 2), [0.0]
    batcher = batcher_of(run, now)
    run.cancel()
    last = batcher.last()
    assert (last["lanes"], last["figures"], last["notes"], last["done"]) == ([], [], [], True)
