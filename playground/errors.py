"""The one error a user may read, and what the log keeps of every other. Every message is one sentence that says what is allowed."""

from __future__ import annotations

import traceback


class PlaygroundError(ValueError):
    """Something the user can put right; its message may be shown as it stands. The command line exits with 2.

    `page` is the sentence for a visitor of the page, who has fields and buttons instead of flags; the same where not given.
    """

    def __init__(self, sentence: str, page: str = "") -> None:
        super().__init__(sentence)
        self.page = page or sentence


class FaultError(PlaygroundError):
    """Something that the operator can put right: the message may name files, and goes to the command line and the log."""


def trail(error: BaseException) -> str:
    """An exception for the log: kinds and lines of code. Messages are left out, as they may hold what a visitor wrote, the
    voter's id or a ticket; those that are for the operator, and the operating system's, are kept."""
    told: list[str] = []
    link: BaseException | None = error
    while link is not None and len(told) < 8:
        said = f": {link}" if isinstance(link, FaultError) else ""
        said = f": {link.strerror}: {link.filename}" if isinstance(link, OSError) and link.strerror else said
        told.append(f"{type(link).__name__}{said}\n{''.join(traceback.format_tb(link.__traceback__))}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "caused by ".join(told)
