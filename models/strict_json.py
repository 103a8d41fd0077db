"""JSON that says one thing: no key twice, no NaN or infinity, no half characters, and not nested without end."""

from __future__ import annotations

import json
import math
from typing import Any

HALVES = ("\\ud", "\\uD")  # how an escape begins that may be half of a pair
DEEPEST = 32  # lists and objects within each other; a head's description has some ten


def loads(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for any other text, whatever is wrong with it."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level, depth = [value], 0
    while level := [inner for one in level for inner in _inside(one)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
    if any(half in text for half in HALVES):
        _require_whole(value)
    return value


def _require_whole(value: Any) -> None:
    """Raises ValueError where a text holds half of a surrogate pair: it is no text that could be shown, sent or stored."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no character") from None


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
