"""The server's memory of recent runs: what resync, inspection, charts and votes read, whatever the browser has.

A run is sealed while it is one side of an unvoted battle: then nothing but its text may leave. The registry is bounded
in runs and in tokens and forgets the least recently used; all methods may be called from any thread.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from playground.decoding.counts import several
from playground.decoding.trace import LaneStep, Request, Stop, TokenStep, Trace
from playground.errors import PlaygroundError
from playground.ui.growing import Growing
from playground.ui.heading import Heading
from playground.ui.render import figures, inspection, note

CAPACITY_RUNS = 256
CAPACITY_TOKENS = 400_000


class Run:
    """One generation of some lanes; grows while it streams and is frozen by `finish` or `cancel`."""

    def __init__(self, request: Request, lanes: int, *, sealed: bool = False) -> None:
        self.id = secrets.token_urlsafe(12)
        self.request, self.lanes, self.sealed = request, lanes, sealed
        self.heads: tuple[Heading, ...] = ()
        self.stopped = False
        self.seconds: float | None = None
        self.ahead: int | None = None  # how many begin before this one, while it waits
        self.voted: dict[tuple[int, int], str] = {}  # the outcome of two of its lanes, the lower number first
        self._headers: tuple[Trace, ...] = ()
        self._names: Mapping[int, str] = {}
        self._growing = [Growing() for _ in range(lanes)]
        self._traces: tuple[Trace, ...] | None = None
        self._lock = threading.Lock()

    def start(self, traces: Sequence[Trace], heads: Sequence[Heading], names: Mapping[int, str] | None = None) -> None:
        """Keep the lanes' headers: the traces, complete but for their steps; and how tokens without a text are called."""
        self._headers, self.heads, self._names = tuple(traces), tuple(heads), names or {}

    def append(self, steps: Sequence[LaneStep]) -> None:
        """Add streamed steps, any number of any lane; after `finish` or `cancel` they are ignored."""
        with self._lock:
            if not self.stopped:
                for lane_step in steps:
                    self._growing[lane_step.lane].add(lane_step)

    def finish(self, traces: Sequence[Trace]) -> None:
        """Freeze the run with its finished traces."""
        with self._lock:
            if not self.stopped:
                self._traces = tuple(traces)
                for growing, trace in zip(self._growing, traces, strict=True):
                    growing.replace(trace)
                self.stopped = True

    def cancel(self, stop: Stop = "cancelled") -> None:
        """Freeze the run with what has streamed (nothing where it was refused); a lane that had ended keeps its own ending."""
        with self._lock:
            if self.stopped:
                return
            self.stopped = True
            self._traces = tuple(
                header.with_steps(growing.every_step(), growing.ending or stop)
                for header, growing in zip(self._headers, self._growing, strict=bool(self._headers))
            )

    def ended(self) -> list[bool]:
        """Whether each lane has ended by itself."""
        return [growing.ending is not None for growing in self._growing]

    def steps(self, lane: int, start: int = 0, end: int | None = None) -> list[TokenStep]:
        """The counted steps of a lane so far, from `start` to before `end`."""
        return self._growing[lane].steps[start:end]

    def lengths(self) -> list[int]:
        """How many counted steps each lane has."""
        return [len(growing.steps) for growing in self._growing]

    def kept(self) -> list[int]:
        """How many of each lane's first steps have the text that they streamed with."""
        return [growing.kept for growing in self._growing]

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The finished traces; empty while it runs."""
        return self._traces or ()

    def figures(self) -> list[list[tuple[str, str]]]:
        """Figures per lane of a stopped run."""
        return [
            figures(
                self.steps(lane),
                trace.timings.get("decode_seconds", self.seconds),
                trace.stop,
                head.spec,
                trace.precision,
            )
            for lane, (trace, head) in enumerate(zip(self.traces, self.heads, strict=True))
        ]

    def notes(self) -> list[str]:
        """The policies' own sentences under the lanes of a stopped run; "" where there is none."""
        return [note(self.steps(lane), head.spec) for lane, head in enumerate(self.heads)]

    def inspect(self, lane: int, position: int) -> dict[str, Any]:
        """The card of one counted token. Raises PlaygroundError for a sealed run or a token that is not there."""
        if self.sealed:
            raise PlaygroundError("This battle shows its numbers after the vote.")
        length = self.lengths()[lane] if 0 <= lane < len(self._headers) else 0
        if not 0 <= position < length:
            raise PlaygroundError(f"Lane {lane + 1} has {several(length, 'token')}; there is no token {position + 1}.")
        return inspection(self._growing[lane].steps[position], self._headers[lane], self._names)

    def weight(self) -> int:
        """Tokens held, for the registry's bound."""
        return sum(growing.all_steps for growing in self._growing)


class Runs:
    """Recent runs by id, and the latest of each owner (a tab of one visitor's page)."""

    def __init__(self, capacity: int = CAPACITY_RUNS, tokens: int = CAPACITY_TOKENS) -> None:
        self._capacity, self._tokens = capacity, tokens
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._latest: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, run: Run, owner: str | None = None) -> Run:
        """Remember `run` and forget the least recently used ones beyond the bounds.

        An owner has one run at a time: the one before is stopped, as if Stop had been pressed.
        """
        with self._lock:
            before = self._of(owner)
            self._runs[run.id] = run
            held = sum(other.weight() for other in self._runs.values())
            while len(self._runs) > 1 and (len(self._runs) > self._capacity or held > self._tokens):
                _, oldest = self._runs.popitem(last=False)
                held -= oldest.weight()
            if owner is not None:
                self._latest = {name: id for name, id in self._latest.items() if id in self._runs} | {owner: run.id}
        if before is not None:
            before.cancel()
        return run

    def get(self, run_id: object) -> Run:
        """The run with this id. Raises PlaygroundError if it is unknown or forgotten."""
        with self._lock:
            if not isinstance(run_id, str) or run_id not in self._runs:
                raise PlaygroundError("This run is no longer held by the server; generate again.")
            self._runs.move_to_end(run_id)
            return self._runs[run_id]

    def latest(self, owner: str | None) -> Run | None:
        """The owner's latest run, where it is still held."""
        with self._lock:
            return self._of(owner)

    def leave(self, owner: str) -> None:
        """Stop the owner's run: nobody looks at it any more."""
        run = self.latest(owner)
        if run is not None:
            run.cancel()

    def _of(self, owner: str | None) -> Run | None:
        return self._runs.get(self._latest.get(owner, "")) if owner is not None else None

    def __len__(self) -> int:
        return len(self._runs)
