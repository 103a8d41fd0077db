"""What a visitor reads of a fault: one sentence, with no path, no text of an exception and no trace of other visitors.

The operator reads more in the log, and there too nothing that a visitor wrote.
"""

from __future__ import annotations

import logging
import re

from playground.errors import FaultError, PlaygroundError, trail

UNEXPECTED = "Something failed on the server; try again, and tell its operator if it fails again."
PLACE = re.compile(r"(?<![\w:/\\.<])(?:[A-Za-z]:)?[\\/][^\s'\"`;,()<>]+")


def sentence(error: Exception) -> str:
    """What to show; what that leaves out is in the log."""
    if isinstance(error, PlaygroundError):
        if isinstance(error, FaultError):
            record(error)
        # what is refused here quotes what was typed, which may look like a path; what came from below may name files
        written_here = error.__cause__ is None and not isinstance(error, FaultError)
        return error.page if written_here else without_places(error.page)
    record(error)
    return UNEXPECTED


def record(error: Exception) -> None:
    """Writes to the log how this came about."""
    logging.getLogger(__name__).error("A request failed. %s", trail(error))


def without_places(text: str) -> str:
    """`text` with the last name alone of every absolute path in it."""
    return PLACE.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("\\/"))[-1] or "a folder", text)
