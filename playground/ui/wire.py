"""The streaming protocol between a run on the server and its board in the browser.

    {"run", "seq", "lanes": [{"from", "tokens": [[text, temperature, entropy, logprob], …]}, …], "done"}

A message carries the tokens since the last one and repeats OVERLAP before them. The browser drops what it has and, where
`from` lies beyond what it has (a hidden tab coalesces messages), asks for the snapshot. The first message and every
snapshot also carry `heads`; a finished run's snapshot carries `figures`. The last message is the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playground.errors import PlaygroundError
from playground.ui.render import wire_token
from playground.ui.runs import Run

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
        self.seq = 0
        self.due = clock() + interval

    def delta(self) -> Message | None:
        """The next message, or None while it is too early or nothing is new."""
        lengths = self.run.lengths()
        if self.clock() < self.due or lengths == self.sent:
            return None
        self.due = self.clock() + self.interval
        self.seq += 1
        lanes = []
        for lane, sent in enumerate(self.sent):
            start = max(0, sent - self.overlap)
            steps = self.run.steps(lane)[start : lengths[lane]]
            lanes.append({"from": start, "tokens": [list(wire_token(step)) for step in steps]})
        self.sent = lengths
        return {"run": self.run.id, "seq": self.seq, "lanes": lanes, "done": False}

    def last(self) -> Message:
        """The closing snapshot, numbered after every delta."""
        self.seq += 1
        return snapshot(self.run, self.seq)


def snapshot(run: Run, seq: int = 0) -> Message:
    """The whole run as one message; `seq` 0 is what a resync answers. Raises PlaygroundError for a sealed run."""
    if run.sealed:
        raise PlaygroundError("This battle shows its numbers after the vote.")
    lanes = [{"from": 0, "tokens": [list(wire_token(step)) for step in run.steps(lane)]} for lane in range(run.lanes)]
    message: Message = {"run": run.id, "seq": seq, "lanes": lanes, "done": run.stopped, "heads": run.heads}
    if run.stopped:
        message["figures"] = run.figures()
    return message


def blind(run: Run, battle: str, seq: int) -> Message:
    """What a battle may send before its vote: both texts so far, and whether both are done."""
    texts = ["".join(step.text for step in run.steps(lane)) for lane in range(run.lanes)]
    return {"battle": battle, "run": run.id, "seq": seq, "text": texts, "done": run.stopped}


def refusal(sentence: str) -> Message:
    """A message that holds only the sentence to show."""
    return {"run": None, "seq": 0, "lanes": [], "done": True, "error": sentence}
