"""The streaming protocol between a run on the server and its board in the browser.

    {"run", "seq", "lanes": [{"from", "tokens": [[text, temperature, entropy, logprob, …], …], "ended"}, …], "done"}

A token goes on with one value for each channel that its lane's head names, null where there is none. A message carries
the tokens since the last one, so it costs what is new, however long the run is. Where `from` lies beyond what the browser
has (a message was lost), it asks for the snapshot of the rest and says how much it has. The first message and every
snapshot also carry `heads` and `scales`, the scales of the channels. The last message carries `figures` and `notes`, and
begins early enough to correct a text that changed at the end (a reply that ended inside a character).

A message travels as one string of JSON: Gradio walks, compares and copies every element of a nested value many times on
both sides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from playground.errors import PlaygroundError
from playground.ui.render import wire_token
from playground.ui.runs import Run
from playground.ui.scales import channel_scales

Message = dict[str, Any]


class Batcher:
    """Turns a growing run into messages, `interval()` seconds of `clock` apart or more; the first token does not wait."""

    def __init__(self, run: Run, clock: Callable[[], float], interval: Callable[[], float]) -> None:
        self.run, self.clock, self.interval = run, clock, interval
        self.sent = [0] * run.lanes
        self.ended = [False] * run.lanes
        self.seq = 0
        self.due = clock()

    def delta(self) -> Message | None:
        """The next message, or None while it is too early or nothing is new."""
        if self.clock() < self.due:
            return None
        lengths, ended = self.run.lengths(), self.run.ended()
        if (lengths, ended) == (self.sent, self.ended):
            return None
        self.due = self.clock() + self.interval()
        self.seq += 1
        message = {"run": self.run.id, "seq": self.seq, "lanes": _lanes(self.run, self.sent, lengths, ended)}
        self.sent, self.ended = lengths, ended
        return message | {"done": False}

    def last(self) -> Message:
        """The closing message of a stopped run, numbered after every delta."""
        self.seq += 1
        starts = [min(sent, kept) for sent, kept in zip(self.sent, self.run.kept(), strict=True)]
        lanes = _lanes(self.run, starts, self.run.lengths(), self.run.ended())
        return {"run": self.run.id, "seq": self.seq, "lanes": lanes, "done": True} | _closing(self.run)


def snapshot(run: Run, have: Sequence[int] = (), seq: int = 0) -> Message:
    """The run from what the browser has (counts a lane; none: all of it); `seq` 0 is what a resync answers.

    Raises PlaygroundError for a sealed run.
    """
    if run.sealed:
        raise PlaygroundError("This battle shows its numbers after the vote.")
    stopped, lengths = run.stopped, run.lengths()
    counts = have if len(have) == run.lanes else [0] * run.lanes
    starts = [min(*bounds) for bounds in zip(counts, run.kept(), strict=True)]
    message: Message = {
        "run": run.id,
        "seq": seq,
        "lanes": _lanes(run, starts, lengths, run.ended()),
        "done": stopped,
        "heads": [head.to_record() for head in run.heads],
        "scales": [scale.to_record() for scale in channel_scales([head.channels for head in run.heads])],
    }
    return message | (_closing(run) if stopped else {})


def _closing(run: Run) -> Message:
    return {"figures": run.figures(), "notes": run.notes()}


def _lanes(run: Run, starts: Sequence[int], ends: Sequence[int], ended: Sequence[bool]) -> list[Message]:
    """None for a run that has not begun."""
    return [_lane(run, lane, starts[lane], ends[lane], ended[lane]) for lane in range(len(run.heads))]


def _lane(run: Run, lane: int, start: int, end: int, ended: bool) -> Message:
    names = [channel.name for channel in run.heads[lane].channels]
    tokens = [wire_token(step, names) for step in run.steps(lane, start, end)]
    return {"from": start, "tokens": tokens, "ended": ended}


def blind(run: Run, battle: str, seq: int) -> Message:
    """What a battle may send before its vote: both texts so far, and whether both are done."""
    texts = ["".join(step.text for step in run.steps(lane)) for lane in range(run.lanes)]
    return {"battle": battle, "run": run.id, "seq": seq, "text": texts, "done": run.stopped}


def waiting(run: Run, ahead: int) -> Message:
    """A message that holds only a place in the queue: so many begin before this one."""
    return {"run": run.id, "seq": 0, "waiting": queue_sentence(ahead)}


def queue_sentence(ahead: int, way_out: str = "Stop gives the place up") -> str:
    """What a visitor reads who waits for the decoder; `way_out` is what gives the place up."""
    order = (
        "you are next"
        if ahead == 0
        else "one visitor is before you"
        if ahead == 1
        else f"{ahead} visitors are before you"
    )
    return f"Every place at the decoder is taken; {order}. This begins by itself; {way_out}."


def refusal(sentence: str) -> Message:
    """A message that holds only the sentence to show."""
    return {"run": None, "error": sentence}


def encoded(message: Message) -> str:
    """`message` as the page's component takes it. `<` is escaped: Gradio warns of a component value that spells a tag."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def decoded(value: Any) -> Message:
    """The message that a page sends back; an empty one where it is none."""
    try:
        message = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
