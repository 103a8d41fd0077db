"""Answers that nobody has read: how many of them a page may leave, and the server in all."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playground.ui.contents import BodyError

OF_A_PAGE = 32
OVERALL = 128  # of pages that do not listen; a page listens as soon as it has asked
TOO_MANY = f"This page has left {OF_A_PAGE} answers unread; reload it."


class Unread:
    """Who listens to the answers, and who asked and does not."""

    def __init__(self) -> None:
        self._listening: Counter[str] = Counter()
        self._asked: dict[str, int] = {}
        self._turn = itertools.count()

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """While the answers to this session are read."""
        self._listening[session] += 1
        try:
            yield
        finally:
            self._listening[session] -= 1
            self._listening += Counter()  # drops those at zero

    async def admit(self, session: str, queue: Any) -> None:
        """Makes room in Gradio's queue for one more event. Raises BodyError for a page that has left too many unread.

        Where the pages that do not listen have left too many together, those that asked longest ago lose theirs: no
        stranger who leaves everything unread shuts others out.
        """
        unread: dict[str, set[str]] = queue.pending_event_ids_session
        if len(unread.get(session, ())) >= OF_A_PAGE:
            raise BodyError(429, TOO_MANY)
        self._asked = {name: turn for name, turn in self._asked.items() if name in unread}
        self._asked[session] = next(self._turn)
        deaf = sorted(
            (name for name in unread if not self._listening[name]), key=lambda name: self._asked.get(name, -1)
        )
        total = sum(len(unread[name]) for name in deaf)
        for name in deaf:
            left = len(unread.get(name, ()))
            if name != session and (left == 0 or total >= OVERALL):
                total -= left
                await forget(queue, name)


async def forget(queue: Any, session: str) -> None:
    """Drops what Gradio holds for a session that does not listen, and ends what it runs, as if its page had been closed."""
    queue.pending_messages_per_session.pop(session, None)
    queue.pending_event_ids_session.pop(session, None)
    await queue.clean_events(session_hash=session)
