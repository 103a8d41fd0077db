"""The child of the Train tab over TinyLM: `python -m tests.training_child`; started in place of the real one."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from playground.errors import PlaygroundError
from playground.training.jobs import Emit, Event, serve


def scripted(plan: Mapping[str, Any], emit: Emit, stopped: Callable[[], bool]) -> Event | None:
    """Does what `plan["do"]` says: crash, refuse, print, hang, wait for a stop, keep something after it."""
    emit({"event": "phase", "phase": plan["do"], "pid": os.getpid(), "nice": os.nice(0), "at": os.getcwd()})
    if plan["do"] == "crash":
        os._exit(3)
    if plan["do"] == "refuse":
        raise PlaygroundError("`data` must hold votes.")
    if plan["do"] == "print":
        print("a library that prints")
    if plan["do"] == "deaf":
        stopped()
    if plan["do"] == "keep":
        emit({"event": "epoch", "epoch": 1, "of": 2})
        while not stopped():
            time.sleep(0.02)
        time.sleep(1)  # to write what there is
    while plan["do"] in ("hang", "deaf") or (plan["do"] == "wait" and not stopped()):
        time.sleep(0.02)
    return None if plan["do"] == "wait" else {"answer": 42}


if __name__ == "__main__":
    if "scripted" in sys.argv:  # needs no torch, and so begins at once
        sys.exit(serve(scripted))
    from playground.training_job import work
    from tests.tiny_lm import TinyLM

    trains = functools.partial(work, load=lambda settings: TinyLM(end_bias=-99.0))
    sys.exit(serve(trains, nice=0))
