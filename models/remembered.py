"""What was measured once on this machine: one small file a measurement, found again by all that it depends on.

A file that is not there, not whole, or says something else than `sound` allows is measured again. Where nothing can be
kept, every start measures.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.files import read_file, replace_file

LONGEST = 1 << 16  # bytes of a file that is read


def remembered(
    folder: Path, depends: Mapping[str, Any], sound: Callable[[Any], bool], measure: Callable[[], Any]
) -> Any:
    """What `measure` gives, a JSON value, kept in `folder` under the sha256 of what it `depends` on."""
    text = json.dumps(depends, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    known = _read(path)
    if isinstance(known, dict) and known.get("depends") == json.loads(text) and sound(known.get("found")):
        return known["found"]
    found = measure()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps({"depends": depends, "found": found}, indent=1).encode())
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(read_file(path, LONGEST))
    except (OSError, ValueError, RecursionError):
        return None
