"""Continuous batching: the requests of many visitors decode in one batch, on one thread.

A request joins the running batch at its next step and leaves it when it has ended, failed or been closed. What happens
in a step is playground/decoding/batch.py; this file is the door between the visitors' threads and the one that decodes.
The thread starts with the first request and ends when there has been none for a while.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence

from playground.decoding.batch import Batch, Job
from playground.decoding.load import Load
from playground.decoding.model import Model
from playground.decoding.policies.base import Resources, Row
from playground.decoding.trace import Event, Request, Waiting
from playground.errors import PlaygroundError, trail

PLACES = 8
ROWS = 64  # of one step
CACHE_BYTES = 4 << 30  # that all rows' keys and values may take
HEARTBEAT = 1.0  # seconds after which one who hears nothing is told so, and may leave
LINGER = 10.0  # seconds the idle thread waits for another request
UNEXPECTED = "Decoding stopped unexpectedly; generate again."
ENDED = "The thread that decodes has ended unexpectedly; generate again."


def room_for(model: Model) -> Load:
    """What requests of this model may take together."""
    return Load(ROWS, CACHE_BYTES // model.position_bytes)


class Scheduler:
    """Decodes up to `places` requests at once, within `room`; whoever comes later waits in the order of coming.

    `shown` are the exceptions, beside PlaygroundError, whose text a visitor may read.
    """

    def __init__(
        self,
        room: Load,
        places: int = PLACES,
        shown: tuple[type[Exception], ...] = (),
        linger: float = LINGER,
    ) -> None:
        self.places, self.room = places, room
        self._shown, self._linger = shown, linger
        self._arrived: deque[Job] = deque()
        self._worker: threading.Thread | None = None
        self._changed = threading.Condition()

    def stream(self, model: Model, request: Request, rows: Sequence[Row], resources: Resources) -> Iterator[Event]:
        """The events of `engine.stream`; while all places are taken, Waiting comes before them.

        In a pause of a second Waiting or an empty tuple comes again, so that whoever reads may stop.

        May be read from any thread; closing it frees the place within one step. Raises PlaygroundError in one sentence:
        for a request that cannot run, for one that would not fit even alone, and for whatever failed in this one.
        """
        job = Job(model, request, rows, resources)
        try:
            for told in _listen(job, self._join(job)):
                if isinstance(told, Exception):
                    raise self._for_visitors(told)
                yield told
        finally:
            job.left = True

    def _for_visitors(self, error: Exception) -> PlaygroundError:
        if isinstance(error, PlaygroundError):
            return error
        said = str(error)
        if not isinstance(error, self._shown):
            logging.getLogger(__name__).error("A request failed in the batch. %s", trail(error))
            said = UNEXPECTED
        shown = PlaygroundError(said, getattr(error, "page", "") if isinstance(error, self._shown) else "")
        shown.__cause__ = error
        return shown

    def _join(self, job: Job) -> threading.Thread:
        """Hands the request to the thread that decodes, which is started where none runs."""
        with self._changed:
            self._arrived.append(job)
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="decoding", daemon=True)
                self._worker.start()
            self._changed.notify()
            return self._worker

    def _work(self) -> None:
        batch = Batch(self.places, self.room)
        try:
            while self._take(batch):
                batch.tick()
        except BaseException:  # a defect of the batch itself: nobody is left without an answer
            with self._changed:
                stranded = [*batch.jobs, *self._arrived]
                self._arrived.clear()
                self._worker = None
            for job in stranded:
                job.end(PlaygroundError(ENDED))
            raise

    def _take(self, batch: Batch) -> bool:
        """Hands the arrivals to the batch. With nothing to do it waits for one; False is the end of the thread."""
        with self._changed:
            if not batch.jobs:
                self._changed.wait_for(lambda: bool(self._arrived), self._linger)
            batch.arrived += self._arrived
            self._arrived.clear()
            if not batch.jobs:
                self._worker = None
            return bool(batch.jobs)


def _listen(job: Job, worker: threading.Thread) -> Iterator[Event | Exception]:
    """What a request is told until it has ended, and in a pause its place or nothing again, so that it may leave."""
    again: Event | None = None
    while True:
        try:
            told = job.told.get(timeout=HEARTBEAT)
        except queue.Empty:
            if not worker.is_alive() and job.told.empty():
                yield PlaygroundError(ENDED)
                return
            if again is not None:
                yield again
            continue
        if told is None:
            return
        yield told
        if isinstance(told, Exception):
            return
        again = told if isinstance(told, Waiting) else ()
