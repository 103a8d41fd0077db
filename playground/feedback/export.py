"""Write the votes to a file, whole or not at all, with a manifest beside it that says what was left out and why.

The same database gives the same bytes. `lpo` is one preference/1 line a vote; `csv` is flat, one row a vote, and no
cell of it can start a spreadsheet formula (OWASP ASVS 1.2.10).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from playground.decoding.trace import Trace, canonical_json
from playground.errors import PlaygroundError
from playground.feedback.opening import sync_folder
from playground.feedback.selection import Selection
from playground.feedback.store import Store
from playground.records import OUTCOMES, Mode, Preference

MANIFEST = "manifest/1"
FORMATS = ("lpo", "csv")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")
COLUMNS = (
    *("vote_id", "battle_id", "source", "blind", "mode", "outcome", "left", "strength", "tags", "propensity"),
    *("prompt", "family"),
    *(
        f"{arm}_{name}"
        for arm in "ab"
        for name in ("policy", "model", "checkpoint", "seed", "stop", "tokens", "temperature", "entropy", "text")
    ),
)


def export(
    store: Store, path: Path, form: str = "lpo", include_unblind: bool = False, mode: Mode | None = None
) -> dict[str, Any]:
    """Write `path` and `path`.manifest.json; returns the manifest.

    Raises PlaygroundError for an unknown format and a path that cannot be written; an old file stays as it was then.
    """
    if form not in FORMATS:
        raise PlaygroundError(f"`format` must be one of {', '.join(FORMATS)}, got {form!r}.")
    selection = store.preferences(include_unblind, mode)
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    lines = (_csv_lines if form == "csv" else _lpo_lines)(_counted(selection, outcomes))
    digest = _write(path, lines)
    manifest = _manifest(path, form, selection, outcomes, digest)
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    _write(path.with_name(path.name + ".manifest.json"), [text])
    return manifest


def _manifest(path: Path, form: str, selection: Selection, outcomes: Counter[str], digest: str) -> dict[str, Any]:
    return {
        "format": MANIFEST,
        "file": path.name,
        "content": form,
        "sha256": digest,
        "preferences": sum(outcomes.values()),
        "outcomes": dict(outcomes),
        "excluded": dict(selection.excluded),
        "filters": {"include_unblind": selection.include_unblind, "mode": selection.mode},
    }


def _counted(selection: Selection, outcomes: Counter[str]) -> Iterator[Preference]:
    for preference in selection:
        outcomes[preference.outcome] += 1
        yield preference


def _lpo_lines(preferences: Iterable[Preference]) -> Iterator[str]:
    for preference in preferences:
        yield canonical_json(preference.to_record()) + "\n"


def _csv_lines(preferences: Iterable[Preference]) -> Iterator[str]:
    yield _csv_line(COLUMNS)
    for preference in preferences:
        row = _flat(preference)
        yield _csv_line([row[name] for name in COLUMNS])


def _csv_line(cells: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow([plain_cell(cell) for cell in cells])
    return line.getvalue()


def plain_cell(value: Any) -> Any:
    """The value; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA) else value


def _flat(preference: Preference) -> dict[str, Any]:
    row = {name: getattr(preference, name, None) for name in COLUMNS}
    row["tags"] = " ".join(preference.tags)
    for arm, traces in (("a", preference.a), ("b", preference.b)):
        row.update({f"{arm}_{name}": value for name, value in _flat_trace(traces[0]).items()})
    return row


def _flat_trace(trace: Trace) -> dict[str, Any]:
    def mean(value: Callable[[Any], float]) -> float | None:
        return float(f"{fmean(map(value, trace.steps)):.9g}") if trace.steps else None

    return {
        **{name: getattr(trace, name) for name in ("policy", "model", "checkpoint", "seed", "stop", "text")},
        "tokens": len(trace.steps),
        "temperature": mean(lambda step: step.temperature),
        "entropy": mean(lambda step: step.entropy),
    }


def _write(path: Path, texts: Iterable[str]) -> str:
    """Replace `path` in one step; returns the sha256 of its bytes."""
    digest = hashlib.sha256()
    with _replacing(path) as file:
        for text in texts:
            raw = text.encode()
            digest.update(raw)
            file.write(raw)
    return digest.hexdigest()


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its place once it is complete and on the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with draft.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
            sync_folder(path.parent)
        except OSError as error:
            raise PlaygroundError(
                f"The export {path} cannot be written ({error.strerror}); choose another --out."
            ) from None
    finally:
        if draft.parent.is_dir():
            draft.unlink(missing_ok=True)
