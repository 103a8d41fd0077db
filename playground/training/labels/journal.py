"""A file of records that a killed run leaves in order: what is not complete is cut off, and the rest is written again.

FILE            the records, JSON lines
FILE.progress   first the settings, then one line a finished prompt: [id, where FILE ends after it, its counts, notes]
FILE.manifest.json   written at the end: settings, counts, sha256 of FILE

A prompt counts as finished once its line stands in FILE.progress; what FILE holds behind the last such place is cut off
at the next start. The same seed gives the same replies, so the file ends with the same bytes as without the kill.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError


class Journal:
    """Open files of one run; a context manager. Raises PlaygroundError where `out` was begun with other settings."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out, self.settings = out, dict(settings)
        self.counts: dict[str, Counter[str]] = {}
        self.notes: dict[str, Any] = {}
        self._progress = out.with_name(out.name + ".progress")
        end = self._read()
        out.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._log = out.open("ab"), self._progress.open("ab")
        self._file.truncate(end)
        if not self._log.tell():
            self._write_log(self.settings)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._log.close()

    @property
    def total(self) -> Counter[str]:
        """The counts of all finished prompts together."""
        return sum(self.counts.values(), Counter())

    def write(self, name: str, records: Iterable[Mapping[str, Any]], counts: Counter[str], note: Any = None) -> None:
        """Everything about one prompt: its records, then that it is finished. `records` may complete `counts`."""
        for record in records:
            self._file.write(canonical_json(record).encode() + b"\n")
        self._file.flush()
        self._write_log([name, self._file.tell(), counts, note])
        self.counts[name], self.notes[name] = counts, note

    def finish(self) -> None:
        """Writes the manifest."""
        digest = hashlib.sha256(self.out.read_bytes()).hexdigest()
        manifest = {**self.settings, "counts": dict(sorted(self.total.items())), "sha256": digest}
        path = self.out.with_name(self.out.name + ".manifest.json")
        path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def _write_log(self, value: Any) -> None:
        self._log.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        self._log.flush()

    def _read(self) -> int:
        """What an earlier run finished, and where the records then end; a half-written last line is cut off."""
        if not self._progress.is_file():
            if self.out.is_file() and self.out.stat().st_size:
                raise PlaygroundError(f"{self.out} exists and is not an unfinished run's; name another file.")
            return 0
        content = self._progress.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        with self._progress.open("r+b") as file:
            file.truncate(len(whole))
        lines = [json.loads(line) for line in whole.split(b"\n")[:-1]]
        if lines:
            self._check(lines[0])
        for name, _, counts, note in lines[1:]:
            self.counts[name], self.notes[name] = Counter(counts), note
        end = int(lines[-1][1]) if lines[1:] else 0
        if not self.out.is_file() or self.out.stat().st_size < end:
            raise PlaygroundError(f"{self.out} holds less than {self._progress} says; remove both and sample anew.")
        return end

    def _check(self, began: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(self.settings))
        differs = next((key for key in {**began, **now} if began.get(key) != now.get(key)), None)
        if differs is not None:
            raise PlaygroundError(
                f"{self.out} was begun with another {differs} ({json.dumps(began.get(differs))}, now "
                f"{json.dumps(now.get(differs))}); name another file."
            )


def selection(names: Iterable[str]) -> str:
    """How many prompts a run has, and which: a setting, so that another selection is not added to its file unseen."""
    chosen = sorted(names)
    return f"{len(chosen)}, sha256 {hashlib.sha256(canonical_json(chosen).encode()).hexdigest()[:12]}"
