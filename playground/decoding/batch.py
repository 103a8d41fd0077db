"""The requests of many visitors in one batch, tick by tick. One thread owns it; playground/decoding/scheduler.py does.

    1. those who left are dropped, with their caches
    2. one arrival is read far enough to know its load; those who wait join in the order they came while they fit
    3. every running request goes on to the forward passes it needs next, and tells what became certain
    4. all passes run at once, but of the long ones (pieces of a prompt) only one: of the request that has read the fewest
       pieces, the oldest of these. So the step of those who decode grows by one piece at most, however many newcomers
       read, and nobody with a short prompt waits for the end of a long one

So every request that decodes gets exactly one step a tick, and no step of anybody depends on who else is there.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from playground.decoding.engine import Turns, turns
from playground.decoding.forward import Forward, outcomes
from playground.decoding.load import Load, load_of
from playground.decoding.model import Model, ModelOutput
from playground.decoding.policies.base import Resources, Row
from playground.decoding.session import Session
from playground.decoding.trace import Event, Request, Waiting
from playground.errors import PlaygroundError

LONG = 16  # tokens: a pass that feeds a row more than these is a piece of a prompt, not a step


@dataclass(eq=False)
class Job:
    """One visitor's request.

    told     what the visitor has not read yet: events, then None, or the exception that ended the request
    left     set by the visitor, from another thread: nothing more is wanted
    pieces   long passes so far
    """

    model: Model
    request: Request
    rows: Sequence[Row]
    resources: Resources
    told: queue.SimpleQueue[Event | Exception | None] = field(default_factory=queue.SimpleQueue)
    left: bool = False
    pieces: int = 0
    load: Load = field(default_factory=Load)
    forwards: tuple[Forward, ...] = ()
    _turns: Turns | None = None
    _outputs: Sequence[ModelOutput] | None = None
    _ahead: int | None = None

    def open(self) -> None:
        """Reads the request as far as its load needs it. Raises PlaygroundError for one that cannot be decoded."""
        session = Session(self.model, self.request, self.resources)
        self.load, self._turns = load_of(session, self.rows), turns(session, self.rows)

    @property
    def reads(self) -> bool:
        """Whether its next passes read more than a step does."""
        return any(forward.tokens.shape[1] > LONG for forward in self.forwards)

    @property
    def ended(self) -> bool:
        return self._turns is None

    def wait(self, ahead: int) -> None:
        """Tells how many are served before it, where that has changed."""
        if ahead != self._ahead:
            self.told.put(Waiting(ahead))
        self._ahead = ahead

    def answered(self, found: Sequence[ModelOutput | Exception]) -> None:
        """Takes the outputs of its passes; the first that failed ends it."""
        self.pieces += self.reads
        self.forwards = ()
        outputs = [output for output in found if not isinstance(output, Exception)]
        if len(outputs) == len(found):
            self._outputs = outputs
        else:
            self.end(next(output for output in found if isinstance(output, Exception)))

    def go_on(self) -> None:
        """On to the next passes it needs, or to its end; nothing where those it needs have not run yet."""
        while self._turns is not None and not self.forwards:
            try:
                turn = self._turns.send(self._outputs)  # type: ignore[arg-type]  # None starts it
            except StopIteration:
                self.end(None)
            except Exception as error:  # of whatever kind: it is this visitor's
                self.end(error)
            else:
                self.forwards, self._outputs = turn.forwards, ()
                if turn.event is not None:
                    self.told.put(turn.event)

    def end(self, told: Exception | None) -> None:
        """Frees what it holds and tells the visitor so: None where all went well."""
        try:
            if self._turns is not None:
                self._turns.close()
        finally:
            self._turns, self._outputs, self.forwards = None, None, ()
            self.told.put(told)


class Batch:
    """See the module docstring. `places` requests run at once, and no more than `room` holds; the others wait."""

    def __init__(self, places: int, room: Load) -> None:
        self.places, self.room = places, room
        self.arrived: deque[Job] = deque()
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []

    @property
    def jobs(self) -> list[Job]:
        return [*self.running, *self.waiting, *self.arrived]

    def tick(self) -> None:
        """One step of every running request that is not reading, one piece of one that is."""
        self._drop()
        self._admit()
        for job in self.running:
            job.go_on()
        self.running = [job for job in self.running if not job.ended]
        asking = self._asking()
        found = iter(outcomes([forward for job in asking for forward in job.forwards]))
        for job in asking:
            job.answered([next(found) for _ in job.forwards])

    def _asking(self) -> list[Job]:
        """The requests whose passes run now: all that make a step, and one of those that read."""
        reader = min((job for job in self.running if job.reads), key=lambda job: job.pieces, default=None)
        return [job for job in self.running if not job.reads or job is reader]

    def _drop(self) -> None:
        for job in self.jobs:
            if job.left:
                job.end(None)
        self.running = [job for job in self.running if not job.left and not job.ended]
        self.waiting = deque(job for job in self.waiting if not job.left)
        self.arrived = deque(job for job in self.arrived if not job.left)

    def _admit(self) -> None:
        if self.arrived:
            self._receive(self.arrived.popleft())
        while self.waiting and len(self.running) < self.places and self._fits(self.waiting[0]):
            self.running.append(self.waiting.popleft())
        for ahead, job in enumerate(self.waiting):
            job.wait(ahead)

    def _receive(self, job: Job) -> None:
        try:
            job.open()
            if not job.load.within(self.room):
                raise PlaygroundError(
                    f"This takes {job.load.rows} rows and {job.load.positions:,} cached positions, more than the "
                    f"{self.room.rows} rows and {self.room.positions:,} positions this server has; ask for fewer lanes, a "
                    f"shorter prompt or a shorter reply."
                )
        except Exception as error:  # of whatever kind: it is this visitor's
            job.end(error)
        else:
            self.waiting.append(job)

    def _fits(self, job: Job) -> bool:
        return sum((other.load for other in self.running), job.load).within(self.room)
