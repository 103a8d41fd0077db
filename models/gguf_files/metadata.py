"""What a GGUF file says of its model's shape, read key by key: a key that nobody asked for is one that nobody obeys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from models.errors import ModelError

SHOWN = 60  # characters of a value that a sentence names


class Metadata:
    """The entries of a file. `own` keys stand behind the architecture's name, as in llama.block_count."""

    def __init__(self, name: str, entries: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        self.name, self.tensors = name, tensors
        self._entries, self._asked = entries, set[str]()
        architecture = entries.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise ModelError(f"{name} does not say of which architecture its model is; convert it again.")
        self.architecture = architecture

    def get(self, key: str) -> Any:
        """Any entry as it stands, or None."""
        return self._entries.get(key)

    def own(self, key: str) -> Any:
        """An entry of the architecture as it stands, or None."""
        self._asked.add(key)
        return self._entries.get(f"{self.architecture}.{key}")

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number of at least `least`; a list with one for each layer must have the same for all of them."""
        value = self.own(key)
        if isinstance(value, list) and value and all(one == value[0] for one in value):
            value = value[0]
        elif isinstance(value, list):
            raise self.refused(key, "differs from layer to layer, which is not read here")
        if value is None:
            value = default
        if value is None:
            raise self.refused(key, "is missing")
        if type(value) is not int or value < least:
            raise self.refused(key, f"must be a whole number of at least {least}, and is {shown(value)}")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = self.own(key)
        value = default if value is None else value
        if value is None:
            raise self.refused(key, "is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refused(key, f"must be a number, and is {shown(value)}")
        return float(value)

    def positive(self, key: str, default: float | None = None) -> float:
        value = self.real(key, default)
        if value <= 0:
            raise self.refused(key, f"must be above 0, and is {shown(value)}")
        return value

    def only(self, key: str, *allowed: Any) -> None:
        """Refuses another value than these; the entry may be missing."""
        value = self.own(key)
        if value is not None and value not in allowed:
            raise self.refused(key, f"is {shown(value)}, which is not read here")

    def has(self, tensor: str) -> bool:
        return tensor in self.tensors

    def refused(self, key: str, why: str) -> ModelError:
        return ModelError(f"{self.name}: {self.architecture}.{key} {why}; use the model's safetensors folder.")

    def unread(self) -> list[str]:
        """The keys of the architecture that nobody has asked for."""
        start = f"{self.architecture}."
        own = (key.removeprefix(start) for key in self._entries if key.startswith(start))
        return sorted(key for key in own if key not in self._asked)


def shown(value: Any) -> str:
    """A value of a file as a sentence may name it."""
    said = repr(value)
    return said if len(said) <= SHOWN else f"{said[:SHOWN]} …"
