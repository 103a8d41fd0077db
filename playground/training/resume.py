"""Where a fit stood after its last whole epoch, on disk, so that the same command goes on after a kill.

One file of tensors with a JSON header; it is replaced in one step after every epoch and removed at the end. Every epoch draws
its order and its dropout from streams keyed by seed and epoch, so the epoch's number is the state of the generators.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.files import size_of


@dataclass(frozen=True)
class Resume:
    """The state file `path` of the fit that `key` names; a file of another fit is as good as none."""

    path: Path
    key: str

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and plain values that were saved, or None."""
        try:
            size_of(self.path)  # a pipe would be waited for
            with safe_open(self.path, "pt") as file:
                plain = json.loads((file.metadata() or {}).get("plain", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError):
            return None
        return (tensors, plain["state"]) if plain.get("key") == self.key else None

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replaces the file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_name(f"{self.path.name}.part")
        plain = json.dumps({"key": self.key, "state": state})
        save_file({name: value.contiguous() for name, value in tensors.items()}, scratch, {"plain": plain})
        os.replace(scratch, self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
