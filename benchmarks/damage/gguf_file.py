"""A GGUF file as plain values that may be wrong in any way, written as the format says unless they say otherwise."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

NUMBERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
ALIGNMENT: Final = 32


@dataclass
class Entry:
    """One key of the metadata: `kind` is the format's number of its type; an array's value is (kind, list)."""

    key: str | bytes
    kind: int
    value: Any


@dataclass
class Tensor:
    """One tensor: `shape` as the file has it, the fastest dimension first; `offset` None is where it comes to lie."""

    name: str | bytes
    shape: list[int]
    kind: int
    data: bytes
    offset: int | None = None


@dataclass
class GgufFile:
    """Metadata and tensors in the order of the file; counts of None are the true ones."""

    entries: list[Entry] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    entry_count: int | None = None
    tensor_count: int | None = None
    order: str = "<"

    def entry(self, ending: str) -> Entry:
        """The first entry whose key ends so."""
        return next(entry for entry in self.entries if str(entry.key).endswith(ending))

    def add(self, key: str, kind: int, value: Any) -> None:
        """One more entry in place of any with its key."""
        self.entries = [entry for entry in self.entries if entry.key != key] + [Entry(key, kind, value)]

    def write(self, path: Path) -> None:
        path.write_bytes(self.encoded())

    def encoded(self) -> bytes:
        """The whole file."""
        counts = [
            len(true) if told is None else told
            for told, true in ((self.tensor_count, self.tensors), (self.entry_count, self.entries))
        ]
        head = self.magic + struct.pack(f"{self.order}IQQ", self.version, *counts)
        for entry in self.entries:
            head += self._string(entry.key) + self._packed("I", entry.kind) + self._value(entry.kind, entry.value)
        place, data = 0, b""
        for tensor in self.tensors:
            offset = place if tensor.offset is None else tensor.offset
            dims = b"".join(self._packed("Q", side % 2**64) for side in tensor.shape)
            head += self._string(tensor.name) + self._packed("I", len(tensor.shape)) + dims
            head += self._packed("I", tensor.kind) + self._packed("Q", offset % 2**64)
            data += tensor.data + bytes(-len(tensor.data) % self._alignment)
            place = len(data)
        return head + bytes(-len(head) % self._alignment) + data

    @property
    def _alignment(self) -> int:
        told = [entry.value for entry in self.entries if entry.key == "general.alignment"]
        return told[0] if told and isinstance(told[0], int) and 0 < told[0] <= 4096 else ALIGNMENT

    def _packed(self, form: str, value: Any) -> bytes:
        return struct.pack(f"{self.order}{form}", value)

    def _string(self, text: str | bytes) -> bytes:
        raw = text.encode() if isinstance(text, str) else text
        return self._packed("Q", len(raw)) + raw

    def _value(self, kind: int, value: Any) -> bytes:
        if kind == STRING:
            return self._string(value)
        if kind == ARRAY:
            within, items = value
            head = self._packed("I", within) + self._packed("Q", len(items))
            if within in NUMBERS:
                return head + struct.pack(f"{self.order}{len(items)}{NUMBERS[within]}", *items)
            return head + b"".join(self._value(within, item) for item in items)
        return self._packed(NUMBERS[kind], value) if kind in NUMBERS else self._packed("I", 0)
