"""The streaming protocol between a run on the server and its board in the browser.

    {"run", "seq", "lanes": [{"from", "tokens": [[text, temperature, entropy, logprob, …], …], "ended"}, …], "done"}

A token goes on with one value for each channel that its lane's head names, null where there is none. A message carries
the tokens since the last one and repeats OVERLAP before them. The browser drops what it has and, where `from` lies
beyond what it has (a hidden tab coalesces messages), asks for the snapshot. The first message and every snapshot also
carry `heads` and `scales`, the scales of the channels; a finished run's snapshot carries `figures` and `notes`. The last
message is the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playground.errors import PlaygroundError
from playground.ui.render import wire_token
from playground.ui.runs import Run
from playground.ui.scales import channel_scales

INTERVAL = 0.1
OVERLAP = 4
Message = dict[str, Any]


class Batcher:
    """Turns a growing run into messages at most every `interval` seconds of `clock`."""

    def __init__(
        self, run: Run, clock: Callable[[], float], interval: float = INTERVAL, overlap: int = OVERLAP
    ) -> None:
        self.run, self.clock, self.interval, self.overlap = run, clock, interval, overlap
        self.sent = [0] * run.lanes
        self.ended = [False] * run.lanes
        self.seq = 0
        self.due = clock() + interval

    def delta(self) -> Message | None:
        """The next message, or None while it is too early or nothing is new."""
        if self.clock() < self.due:
            return None
        lengths, ended = self.run.lengths(), _ended(self.run)
        if (lengths, ended) == (self.sent, self.ended):
            return None
        self.due = self.clock() + self.interval
        self.seq += 1
        starts = [max(0, sent - self.overlap) for sent in self.sent]
        lanes = [_lane(self.run, i, *span) for i, span in enumerate(zip(starts, lengths, ended, strict=True))]
        self.sent, self.ended = lengths, ended
        return {"run": self.run.id, "seq": self.seq, "lanes": lanes, "done": False}

    def last(self) -> Message:
        """The closing snapshot, numbered after every delta."""
        self.seq += 1
        return snapshot(self.run, self.seq)


def snapshot(run: Run, seq: int = 0) -> Message:
    """The whole run as one message; `seq` 0 is what a resync answers. Raises PlaygroundError for a sealed run."""
    if run.sealed:
        raise PlaygroundError("This battle shows its numbers after the vote.")
    ended = _ended(run)
    message: Message = {
        "run": run.id,
        "seq": seq,
        "lanes": [_lane(run, lane, 0, None, ended[lane]) for lane in range(run.lanes)],
        "done": run.stopped,
        "heads": [head.to_record() for head in run.heads],
        "scales": [scale.to_record() for scale in channel_scales([head.channels for head in run.heads])],
    }
    if run.stopped:
        message |= {"figures": run.figures(), "notes": run.notes()}
    return message


def _ended(run: Run) -> list[bool]:
    return [run.ending(lane) is not None for lane in range(run.lanes)]


def _lane(run: Run, lane: int, start: int, end: int | None, ended: bool) -> Message:
    names = [channel.name for channel in run.heads[lane].channels]
    tokens = [wire_token(step, names) for step in run.steps(lane)[start:end]]
    return {"from": start, "tokens": tokens, "ended": ended}


def blind(run: Run, battle: str, seq: int) -> Message:
    """What a battle may send before its vote: both texts so far, and whether both are done."""
    texts = ["".join(step.text for step in run.steps(lane)) for lane in range(run.lanes)]
    return {"battle": battle, "run": run.id, "seq": seq, "text": texts, "done": run.stopped}


def refusal(sentence: str) -> Message:
    """A message that holds only the sentence to show."""
    return {"run": None, "seq": 0, "lanes": [], "done": True, "error": sentence}
