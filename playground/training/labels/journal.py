"""A file of records that a killed run leaves in order: what is not complete is cut off, and the rest is written again.

FILE            the records, JSON lines
FILE.progress   first the settings, then one line a finished prompt: [id, where FILE ends after it, its counts, notes]
FILE.manifest.json   written at the end: settings, counts, sha256 of FILE

A prompt counts as finished once its line stands in FILE.progress; what FILE holds behind the last such place is cut off
at the next start. The same seed gives the same replies, so the file ends with the same bytes as without the kill.

Settings hold `wording`, a digest of all that is asked. A file that a former version began has none: nothing can be checked
then, and the digest is added.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from models.files import replace_file
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError

WORDING = "wording"


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
        self._log.write(_line(value))
        self._log.flush()

    def _read(self) -> int:
        """What an earlier run finished, and where the records then end; a half-written last line is cut off."""
        content = self._progress.read_bytes() if self._progress.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and self.out.is_file() and self.out.stat().st_size:
            raise PlaygroundError(f"{self.out} exists and is not an unfinished run's; name another file.")
        began, finished = self._parsed(whole, content[len(whole) :])
        if began is not None:
            self._check(began)
        end = finished[-1][1] if finished else 0
        if end and not (self.out.is_file() and self.out.stat().st_size >= end):
            raise PlaygroundError(f"{self.out} holds less than {self._progress} says; remove both and sample anew.")
        if began is not None and began.get(WORDING) != self.settings.get(WORDING):
            whole = _line(self.settings) + whole[whole.index(b"\n") + 1 :]
        if whole != content:
            replace_file(self._progress, whole)
        for name, _, counts, note in finished:
            self.counts[name], self.notes[name] = Counter(counts), note
        return end

    def _parsed(self, whole: bytes, half: bytes) -> tuple[dict[str, Any] | None, list[Any]]:
        """The settings and the finished prompts of the log's whole lines. Raises PlaygroundError where no run wrote them."""
        with contextlib.suppress(ValueError, TypeError):
            began, *finished = [json.loads(line) for line in whole.split(b"\n")[:-1]] or [None]
            ours = isinstance(began, dict) if whole else _line(self.settings).startswith(half)
            if ours and all(_is_entry(*entry) for entry in finished):
                return began, finished
        raise PlaygroundError(
            f"{self._progress} must hold what an unfinished run wrote there, and does not; remove it and {self.out}, "
            "or name another file."
        )

    def _check(self, began: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(self.settings))
        if WORDING not in began:
            now.pop(WORDING, None)
        differs = next((key for key in {**began, **now} if began.get(key) != now.get(key)), None)
        if differs is not None:
            raise PlaygroundError(
                f"{self.out} was begun with another {differs} ({json.dumps(began.get(differs))}, now "
                f"{json.dumps(now.get(differs))}); name another file."
            )


def _is_entry(name: Any, end: Any, counts: Any, note: Any) -> bool:
    return isinstance(name, str | int) and isinstance(end, int) and isinstance(counts, dict)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def selection(names: Iterable[str]) -> str:
    """How many prompts a run has, and which: a setting, so that another selection is not added to its file unseen."""
    chosen = sorted(names)
    return f"{len(chosen)}, sha256 {hashlib.sha256(canonical_json(chosen).encode()).hexdigest()[:12]}"


def wording(asked: Iterable[tuple[str, Any]]) -> str:
    """A digest of (id, all that decides its replies and labels), whatever their order: a setting, as `selection` is."""
    text = json.dumps(sorted(asked, key=lambda pair: pair[0]), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
