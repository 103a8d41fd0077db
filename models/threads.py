"""How many threads a pass of a small model takes: one for each core that other programs leave free.

At a few rows a pass is thousands of short products, and each is over when its last thread is. A thread that waits for a
core on which another program runs makes all of them wait, many times a millisecond: with one core taken, two threads are
half as fast as one. So before a pass the machine is looked at, four times a second at most:

    others  = busy cores − cores that this process keeps busy
    threads = cores − ⌈others − SLACK⌉, at least one

A thread is given up at once and taken again after RECENT looks that all allow it. The bits of a pass must not depend on
the number of threads: where they do, the number stays what it is (models/llama/model.py looks).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from models import machine

PERIOD, RECENT = 0.25, 4  # seconds between two looks; looks that must agree before a thread more is taken
SLACK = 0.3  # of a core that others may use before a thread is given up


class Threads:
    """The threads of the passes of one model: `most`, or fewer while other programs are busy.

    `busy` and `own` give the seconds that the cores and this process have worked, `now` the time.
    """

    def __init__(
        self,
        busy: Callable[[], float] | None = None,
        own: Callable[[], float] = time.process_time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        cores = machine.cores()
        self.cores = len(cores)
        self.most = allowed()
        self._read = (now, busy or (lambda: machine.busy_seconds(cores)), own)
        self._allowed: deque[int] = deque([self.most], maxlen=RECENT)
        self._last = self._look()

    @property
    def count(self) -> int:
        """How many threads the next pass takes."""
        return min(self._allowed)

    def few_enough(self) -> AbstractContextManager[None]:
        """What runs inside takes `count` threads."""
        return at_most(self._settled())

    def _look(self) -> tuple[float, ...]:
        return tuple(read() for read in self._read)

    def _settled(self) -> int:
        """The count after a look at the machine, where the last one was long enough ago."""
        if self.most > 1 and self._read[0]() - self._last[0] >= PERIOD:
            last, self._last = self._last, self._look()
            seconds, busy, own = (after - before for after, before in zip(self._last, last, strict=True))
            others = (busy - own) / seconds
            self._allowed.append(max(1, min(self.most, self.cores - math.ceil(others - SLACK))))
        return self.count


def allowed() -> int:
    """PyTorch's threads, or fewer where a container may use fewer cores: more would run at once and then stand still."""
    return max(1, math.ceil(min(torch.get_num_threads(), machine.quota())))


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """What runs inside takes so many threads or fewer; afterwards this thread of Python has as many as before."""
    before = torch.get_num_threads()
    if count >= before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
