"""What a body may hold: one JSON object that nobody has to grow, fetch or repair."""

from __future__ import annotations

import json
import math
import re
from typing import Any

VALUES = (
    5_000  # lists, objects and what they hold: a parsed empty list takes twenty times the bytes that it is written with
)
DEPTH = 16
STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # one that never ends reaches to the end: one pass
FILE_KEYS = {"path", "meta", "_type"}  # by which Gradio knows a file, whose address it then fetches and stores
NOT_JSON = "A request must be a JSON object in UTF-8 with finite numbers, with `Content-Type: application/json`."
TOO_MANY = f"A request may hold at most {VALUES:,} values, nested at most {DEPTH} deep."
NO_FILES = "Nothing on this page takes a file; a request may not name one."
HALF = "Text must be whole characters; there is half of a surrogate pair in it."


class BodyError(Exception):
    """A body that is not taken: the HTTP status and the sentence to answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def parsed(body: bytes) -> dict[str, Any]:
    """The object that `body` is. Raises BodyError, for what would grow when it is parsed before it is."""
    _check_size(body)
    try:
        whole = json.loads(body.decode(), parse_float=_finite, parse_constant=_finite, object_pairs_hook=_without_files)
    except ValueError:
        whole = None
    if not isinstance(whole, dict):
        raise BodyError(400, NOT_JSON)
    try:
        json.dumps(whole, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BodyError(400, HALF) from None
    return whole


def _check_size(body: bytes) -> None:
    """A NUL is another encoding, in which quotes hide brackets."""
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


def _without_files(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; a key that is written twice is seen both times."""
    if any(name in FILE_KEYS for name, _ in pairs):
        raise BodyError(400, NO_FILES)
    return dict(pairs)


def _finite(text: str) -> float:
    """Gradio answers a number that JSON cannot hold with a traceback."""
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value
