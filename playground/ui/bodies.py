"""The body of a request, read whole within bounds before anybody parses it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

LARGEST = 512 * 1024  # bytes: five texts of 20,000 characters, four bytes each, and what a board sends back
VALUES = (
    5_000  # lists, objects and what they hold: a parsed empty list takes twenty times the bytes that it is written with
)
DEPTH = 16
STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # one that never ends reaches to the end: one pass
TOO_LARGE = f"A request may have at most {LARGEST // 1024} KiB; send shorter texts."
NOT_JSON = "A request must be a JSON object in UTF-8 with finite numbers, with `Content-Type: application/json`."
TOO_MANY = f"A request may hold at most {VALUES:,} values, nested at most {DEPTH} deep."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class BodyError(Exception):
    """A body that is not taken: the HTTP status and the sentence to answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


async def taken(headers: list[tuple[bytes, bytes]], receive: Receive) -> Receive:
    """A `receive` that gives the whole body at once, and then what the client does. Raises BodyError."""
    named = {name.lower(): value for name, value in headers}
    if named.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
        raise BodyError(415, NOT_JSON)
    told = named.get(b"content-length", b"0")
    if not told.isdigit() or len(told) > 9 or int(told) > LARGEST:
        raise BodyError(413, TOO_LARGE)
    whole: list[Message] = [{"type": "http.request", "body": await _read(receive), "more_body": False}]

    async def receive_again() -> Message:
        return whole.pop() if whole else await receive()

    return receive_again


async def _read(receive: Receive) -> bytes:
    """What comes, however it is cut into chunks; whoever goes before its end leaves a body that is no JSON."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST:
            raise BodyError(413, TOO_LARGE)
        more = message["type"] == "http.request" and message.get("more_body", False)
    _check(bytes(body))
    return bytes(body)


def _check(body: bytes) -> None:
    """Raises BodyError for what would grow when it is parsed, and for what is no JSON object. A NUL is another encoding, in which quotes hide brackets."""
    if b"\0" in body:
        raise BodyError(415, NOT_JSON)
    bare = STRINGS.sub(b"", body)
    depth, brackets = 0, bare.translate(None, bytes(set(range(256)) - set(b"[]{}")))
    if bare.count(b",") + len(brackets) > VALUES:
        raise BodyError(413, TOO_MANY)
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH:
            raise BodyError(413, TOO_MANY)
    try:
        whole = json.loads(body.decode(), parse_float=_finite, parse_constant=_finite)
    except ValueError:
        whole = None
    if not isinstance(whole, dict):
        raise BodyError(400, NOT_JSON)


def _finite(text: str) -> float:
    """Gradio answers a number that JSON cannot hold with a traceback."""
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value
