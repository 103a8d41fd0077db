"""The trained heads that fit the loaded model, read again whenever a file of theirs changes.

So a new head is a policy without a restart, and one that is deleted or replaced is no longer drawn.

The heads that ship, and those that were promoted, meet in the Arena; every other one can be named in Compare and on the
command line. A promotion is the file NAME.promoted in the folder of one's own heads. It holds the hash of the weights, so
a head that is made anew under an old name is not promoted; to withdraw a head is to delete the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from models import checkpoints, strict_json
from models.checkpoints import SHIPPED, Checkpoint
from models.files import read_file, replace_file
from models.kinds import KINDS
from models.meta import Base
from playground.decoding.policies.catalogue import Catalogue, catalogue
from playground.errors import PlaygroundError

BLIND_KINDS = ("adaptive-token", "adaptive-sequence", "tempnet", "auto-deco")  # whose heads may meet in the Arena
SUFFIX = ".promoted"
MARK_MOST = 10_000  # bytes


@dataclass(frozen=True)
class Listed:
    """The heads at one moment, why others cannot be used, the policies with their default heads, and what is promoted."""

    heads: tuple[Checkpoint, ...]
    refused: tuple[str, ...]
    catalogue: Catalogue
    promoted: frozenset[str]
    arena: tuple[str, ...]


class Shelf:
    """The heads of some folders; the first is one's own and takes promotions. Any thread may call it."""

    def __init__(self, folders: Sequence[Path], base: Base) -> None:
        self.folders, self.base = tuple(folders), base
        self._read_at = checkpoints.stamps(self.folders)
        self._listed = self._read()

    @property
    def now(self) -> Listed:
        """What lies in the folders now."""
        seen = checkpoints.stamps(self.folders)
        if seen != self._read_at:
            self._listed, self._read_at = self._read(), seen
        return self._listed

    @property
    def trained(self) -> tuple[Checkpoint, ...]:
        """The heads that do not ship."""
        return tuple(head for head in self.now.heads if head.folder != SHIPPED)

    def refresh(self) -> Listed:
        """Reads the folders again, changed or not."""
        self._read_at = checkpoints.stamps(self.folders)
        self._listed = self._read()
        return self._listed

    def promote(self, name: str) -> None:
        """Lets a head meet others in the Arena. Raises PlaygroundError where it is not one that may."""
        head = next((head for head in self.refresh().heads if head.name == name), None)
        if head is None or head.folder == SHIPPED or head.meta.kind not in BLIND_KINDS:
            raise PlaygroundError("Choose a head that does not ship; those that do are in the Arena already.")
        record = {"weights_sha256": head.sha256, "promoted": datetime.now(UTC).isoformat(timespec="seconds")}
        self._write(self._mark(head), json.dumps(record) + "\n")
        self.refresh()

    def withdraw(self, name: str) -> None:
        """Takes a promoted head out of the Arena; battles that have begun go on. Raises PlaygroundError where it is none."""
        head = next((head for head in self.refresh().heads if head.name == name), None)
        if head is None or head.name not in self.now.promoted:
            raise PlaygroundError("Choose a head that is promoted.")
        self._write(self._mark(head), None)
        self.refresh()

    def _write(self, path: Path, text: str | None) -> None:
        """Puts `text` at `path` whole or not at all; None deletes it."""
        try:
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, text.encode())
        except OSError as error:
            raise PlaygroundError(
                f"The folder {path.parent} cannot be written ({error.strerror}); the Arena is as it was."
            ) from error

    def _read(self) -> Listed:
        found = checkpoints.find(self.folders, self.base)
        promoted = frozenset(head.name for head in found.usable if self._promoted(head))
        ordered = sorted(found.usable, key=lambda head: head.name not in promoted)  # stable: by name within each
        defaults = {kind: checkpoints.default_for(kind, ordered) for kind in KINDS}
        named = {kind: head.name for kind, head in defaults.items() if head}
        blind = [head for head in found.usable if head.meta.kind in BLIND_KINDS]
        arena = [
            kind
            for kind in BLIND_KINDS
            if (head := defaults[kind]) and (head.folder == SHIPPED or self._promoted(head))
        ]
        arena += [
            f"{head.meta.kind}:checkpoint={head.name}"
            for head in blind
            if head.name in promoted and named[head.meta.kind] != head.name
        ]
        return Listed(found.usable, found.refused, catalogue(named), promoted, tuple(arena))

    def _mark(self, head: Checkpoint) -> Path:
        return self.folders[0] / f"{head.name}{SUFFIX}"

    def _promoted(self, head: Checkpoint) -> bool:
        try:
            mark = strict_json.loads(read_file(self._mark(head), MARK_MOST).decode("utf-8"))
            return bool(mark["weights_sha256"] == head.sha256)
        except (OSError, ValueError, KeyError, TypeError):
            return False
