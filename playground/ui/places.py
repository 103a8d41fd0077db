"""Places for visitors who decode, where the decoder itself does not queue them (decoding/scheduler.py does).

The others wait in the order in which they came, each knowing how many are before them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playground.decoding.counts import several
from playground.errors import PlaygroundError

WAITING = 32
SPARE = 8  # events that are told at once that the queue is full
INTERVAL = 0.1
FEW, MOST = 4, 12  # visitors: up to FEW the interval is INTERVAL, from MOST on it is three times that
LOOK = 1.0  # seconds between two looks at whether one who waits has gone


class Seat:
    """One visitor at the decoder or in the queue before it."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def wait(self, gone: Callable[[], bool]) -> Iterator[int]:
        """Yields how many begin before this one, at every change and every LOOK seconds, until it may begin or is `gone`.

        Whoever takes the values can close it at each of them.
        """
        while (ahead := self._places.ahead(self)) >= 0 and not gone():
            yield ahead
            self._places.look_again(self, ahead)


class Places:
    """`count` places and a queue of at most `waiting` visitors."""

    def __init__(self, count: int, waiting: int = WAITING) -> None:
        self.count, self.waiting = count, waiting
        self._seats: list[Seat] = []
        self._changed = threading.Condition()

    @property
    def event_options(self) -> dict[str, Any]:
        """Of a Gradio event that takes a seat: it begins at once, so that whoever waits, is refused or stops is told.

        A second press ends what the first one began, so it must not be swallowed.
        """
        limit = self.count + self.waiting + SPARE
        return {"concurrency_limit": limit, "concurrency_id": "decode", "trigger_mode": "multiple"}

    @property
    def interval(self) -> float:
        """Seconds between two messages to one visitor: longer while many stream, since a message costs more than a token."""
        return INTERVAL * max(1.0, min(len(self._seats), MOST) / FEW)

    @contextmanager
    def seat(self) -> Iterator[Seat]:
        """A seat that is given back at the end. Raises PlaygroundError where all are taken and the queue is full."""
        seat = Seat(self)
        with self._changed:
            if len(self._seats) >= self.count + self.waiting:
                raise PlaygroundError(
                    f"The decoder is busy with {several(len(self._seats), 'visitor')}; try again in a minute."
                )
            self._seats.append(seat)
        try:
            yield seat
        finally:
            with self._changed:
                self._seats.remove(seat)
                self._changed.notify_all()

    def ahead(self, seat: Seat) -> int:
        """How many begin before `seat`; negative once it has a place."""
        with self._changed:
            return self._seats.index(seat) - self.count

    def look_again(self, seat: Seat, known: int) -> None:
        """Returns when what is before `seat` may differ from `known`, and after LOOK seconds in any case."""
        with self._changed:
            if self._seats.index(seat) - self.count == known:
                self._changed.wait(LOOK)
