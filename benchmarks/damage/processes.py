"""A call in a process of its own, ended when it takes too long: what hangs or crashes there is a finding, not the end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

MODULES: Final = ("benchmarks.damage.warm",)


class CutShortError(Exception):
    """Why a process gave no answer, in a few words."""


class Processes:
    """Processes that begin with everything imported, out of one that stays as it was."""

    def __init__(self, seconds: float) -> None:
        self._context, self._seconds = multiprocessing.get_context("forkserver"), seconds
        self._context.set_forkserver_preload(list(MODULES))

    def call(self, work: Callable[..., Any], *given: Any) -> Any:
        """What `work` returns there. Raises CutShortError where it ends without an answer or takes too long."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_answer, args=(theirs, work, given), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(self._seconds):
                raise CutShortError(f"no answer after {self._seconds:g} s")
            return ours.recv()
        except EOFError:
            process.join()
            raise CutShortError(f"the process ended with {process.exitcode}") from None
        finally:
            process.kill()
            process.join()
            ours.close()


def _answer(to: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    to.send(work(*given))
