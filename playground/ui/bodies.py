"""The body of a request, read whole within bounds before anybody parses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from playground.ui.contents import NOT_JSON, BodyError

LARGEST = 512 * 1024  # bytes: five texts of 20,000 characters, four bytes each, and what a board sends back
SECONDS = 20.0
UNFINISHED = 64  # bodies on their way at once; one more ends the oldest, so that nobody who stalls shuts others out
TOO_LARGE = f"A request may have at most {LARGEST // 1024} KiB; send shorter texts."
TOO_SLOW = f"A request must arrive within {SECONDS:.0f} seconds, sooner while many are on their way; send it again."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Bodies:
    """The bodies on their way to the server, whoever sends them."""

    def __init__(self, seconds: float = SECONDS, unfinished: int = UNFINISHED) -> None:
        self.seconds, self.most = seconds, unfinished
        self.unfinished: list[asyncio.Timeout] = []

    async def read(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """The whole body. Raises BodyError for what is no JSON, too large or too slow."""
        _check(headers)
        try:
            async with asyncio.timeout(self.seconds) as limit:
                self._make_room()
                self.unfinished.append(limit)
                try:
                    return await _read(receive)
                finally:
                    if limit in self.unfinished:
                        self.unfinished.remove(limit)
        except TimeoutError:
            raise BodyError(408, TOO_SLOW) from None

    def _make_room(self) -> None:
        """Ends the oldest where one more would be too many."""
        if len(self.unfinished) >= self.most:
            oldest = self.unfinished.pop(0)
            if not oldest.expired():
                oldest.reschedule(0)


def _check(headers: list[tuple[bytes, bytes]]) -> None:
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    if len(kinds) != 1 or kinds[0].split(b";")[0].strip().lower() != b"application/json":
        raise BodyError(415, NOT_JSON)
    for told in (value for name, value in headers if name.lower() == b"content-length"):
        if not told.isdigit() or len(told) > 9 or int(told) > LARGEST:
            raise BodyError(413, TOO_LARGE)


async def _read(receive: Receive) -> bytes:
    """What comes, however it is cut into chunks; whoever goes before its end leaves a body that is no JSON."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST:
            raise BodyError(413, TOO_LARGE)
        more = message["type"] == "http.request" and message.get("more_body", False)
    return bytes(body)


def again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives this body at once, and then what the client does."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return whole.pop() if whole else await receive()

    return receive_again
