"""The server's memory of recent runs: what resync, inspection, charts and votes read, whatever the browser has.

A run is sealed while it is one side of an unvoted battle: then nothing but its text may leave. The registry is bounded
in runs and in tokens and forgets the least recently used; all methods may be called from any thread.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

from playground.decoding.trace import LaneStep, Request, Stop, TokenStep, Trace
from playground.errors import PlaygroundError
from playground.ui.heading import Heading
from playground.ui.render import counted, figures, inspection, note

CAPACITY_RUNS = 256
CAPACITY_TOKENS = 400_000


class Run:
    """One generation of some lanes; grows while it streams and is frozen by `finish` or `cancel`."""

    def __init__(self, request: Request, lanes: int, end_ids: Collection[int] = (), *, sealed: bool = False) -> None:
        self.id = secrets.token_urlsafe(12)
        self.request, self.lanes, self.end_ids, self.sealed = request, lanes, frozenset(end_ids), sealed
        self.heads: tuple[Heading, ...] = ()
        self.stopped = False
        self.seconds: float | None = None
        self._headers: tuple[Trace, ...] = ()
        self._steps: list[list[TokenStep]] = [[] for _ in range(lanes)]
        self._traces: tuple[Trace, ...] | None = None
        self._lock = threading.Lock()

    def start(self, traces: Sequence[Trace], heads: Sequence[Heading]) -> None:
        """Keep the lanes' headers: the traces, complete but for their steps."""
        self._headers, self.heads = tuple(traces), tuple(heads)

    def append(self, steps: Sequence[LaneStep]) -> None:
        """Add streamed steps, any number of any lane; after `finish` or `cancel` they are ignored."""
        with self._lock:
            if not self.stopped:
                for lane_step in steps:
                    self._steps[lane_step.lane].append(lane_step.step)

    def finish(self, traces: Sequence[Trace]) -> None:
        """Freeze the run with its finished traces."""
        with self._lock:
            if not self.stopped:
                self._traces, self.stopped = tuple(traces), True
                self._steps = [list(trace.steps) for trace in traces]

    def cancel(self, stop: Stop = "cancelled") -> None:
        """Freeze the run with what has streamed (nothing where it was refused); a lane that had ended keeps its own ending."""
        with self._lock:
            if self.stopped:
                return
            self.stopped = True
            self._traces = tuple(
                header.with_steps(steps, self.ending(lane) or stop)
                for lane, (header, steps) in enumerate(zip(self._headers, self._steps, strict=bool(self._headers)))
            )

    def ending(self, lane: int) -> Stop | None:
        """How a lane has ended by itself, as far as its steps tell; None while it may go on."""
        steps = self._steps[lane]
        if len(counted(steps[-1:], self.end_ids)) < len(steps[-1:]):
            return "end"
        if self.request.stop and any(stop in "".join(step.text for step in steps) for stop in self.request.stop):
            return "stop_string"
        return "length" if len(steps) >= self.request.max_tokens else None

    def steps(self, lane: int) -> tuple[TokenStep, ...]:
        """The counted steps of a lane so far."""
        return counted(tuple(self._steps[lane]), self.end_ids)

    def lengths(self) -> list[int]:
        return [len(self.steps(lane)) for lane in range(self.lanes)]

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The finished traces; empty while it runs."""
        return self._traces or ()

    def figures(self) -> list[list[tuple[str, str]]]:
        """Figures per lane of a stopped run."""
        return [
            figures(self.steps(lane), trace.timings.get("decode_seconds", self.seconds), trace.stop, head.spec)
            for lane, (trace, head) in enumerate(zip(self.traces, self.heads, strict=True))
        ]

    def notes(self) -> list[str]:
        """The policies' own sentences under the lanes of a stopped run; "" where there is none."""
        return [note(self.steps(lane), head.spec) for lane, head in enumerate(self.heads)]

    def inspect(self, lane: int, position: int) -> dict[str, Any]:
        """The card of one counted token. Raises PlaygroundError for a sealed run or a token that is not there."""
        if self.sealed:
            raise PlaygroundError("This battle shows its numbers after the vote.")
        steps = self.steps(lane) if 0 <= lane < len(self._headers) else ()
        if not 0 <= position < len(steps):
            raise PlaygroundError(f"Lane {lane + 1} has {len(steps)} tokens; there is none at position {position}.")
        return inspection(steps[position], self._headers[lane])

    def weight(self) -> int:
        """Tokens held, for the registry's bound."""
        return sum(len(steps) for steps in self._steps)


class Runs:
    """Recent runs by id."""

    def __init__(self, capacity: int = CAPACITY_RUNS, tokens: int = CAPACITY_TOKENS) -> None:
        self._capacity, self._tokens = capacity, tokens
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, run: Run) -> Run:
        """Remember `run` and forget the least recently used ones beyond the bounds."""
        with self._lock:
            self._runs[run.id] = run
            held = sum(other.weight() for other in self._runs.values())
            while len(self._runs) > 1 and (len(self._runs) > self._capacity or held > self._tokens):
                _, oldest = self._runs.popitem(last=False)
                held -= oldest.weight()
        return run

    def get(self, run_id: object) -> Run:
        """The run with this id. Raises PlaygroundError if it is unknown or forgotten."""
        with self._lock:
            if not isinstance(run_id, str) or run_id not in self._runs:
                raise PlaygroundError("This run is no longer held by the server; generate again.")
            self._runs.move_to_end(run_id)
            return self._runs[run_id]

    def __len__(self) -> int:
        return len(self._runs)
