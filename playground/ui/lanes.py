"""The lanes of the form: their specs as the page sends them, read and checked against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from playground.decoding.policies.spec import Spec
from playground.errors import PlaygroundError
from playground.parts import Parts

FEWEST, MOST = 2, 4
LONGEST = 2000  # characters of a spec
GONE = re.compile(r"\bof=\?")  # as static/specs.js writes the number of a lane that was removed


def streamed(parts: Parts, text: str) -> Spec:
    """The spec that `text` spells. Raises PlaygroundError also for a policy that shows nothing before its end."""
    if len(text) > LONGEST:
        raise PlaygroundError(f"A policy must be spelt in at most {LONGEST:,} characters.")
    spec = parts.catalogue.parse(text)
    if not spec.kind.streams:
        raise PlaygroundError(
            f"`{spec.name}` shows nothing before its end; use it on the command line: "
            f"python -m playground generate --policy {spec.name}."
        )
    return spec


def read_lanes(parts: Parts, value: Any) -> list[Spec]:
    """The specs of two to four lanes. Raises PlaygroundError in one sentence that names the lane."""
    if not isinstance(value, list) or not FEWEST <= len(value) <= MOST or not all(isinstance(s, str) for s in value):
        raise PlaygroundError("Compare takes two to four lanes.")
    lost = [number for number, text in enumerate(value, start=1) if GONE.search(text)]
    if lost:
        raise PlaygroundError(_lost(lost))
    specs = [_read(parts, number, text) for number, text in enumerate(value, start=1)]
    for number, spec in enumerate(specs, start=1):
        _follow(number, int(spec.values.get("of", 0)), specs)
    return specs


def _lost(lanes: Sequence[int]) -> str:
    if len(lanes) == 1:
        return f"Lane {lanes[0]} followed a lane that was removed; choose another lane for it."
    named = f"{', '.join(map(str, lanes[:-1]))} and {lanes[-1]}"
    return f"Lanes {named} followed a lane that was removed; choose another lane for each."


def _read(parts: Parts, number: int, text: str) -> Spec:
    try:
        return streamed(parts, text)
    except PlaygroundError as error:
        raise PlaygroundError(f"Lane {number}: {error.page}") from None


def _follow(number: int, followed: int, specs: Sequence[Spec]) -> None:
    """Raises PlaygroundError where lane `number` cannot follow lane `followed`; 0 is none."""
    if not followed:
        return
    if followed > len(specs):
        raise PlaygroundError(f"Lane {number} follows lane {followed}, but there are {len(specs)}; choose another one.")
    if followed == number:
        raise PlaygroundError(f"Lane {number} cannot follow itself; choose another lane for it.")
    if specs[followed - 1].values.get("of"):
        raise PlaygroundError(
            f"Lane {number} follows lane {followed}, which follows a lane itself; choose one that decides by itself."
        )
