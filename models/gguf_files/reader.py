"""The container format of GGUF (versions 2 and 3, little-endian): what a file says of itself, and where its tensors lie.

"GGUF", version u32, tensors u64, entries u64
entries × (key, type u32, value)            strings are u64 length + UTF-8, arrays type u32 + u64 length + values
tensors × (name, dimensions u32, sizes u64 …, format u32, offset u64)
the tensors' bytes, from the next multiple of the alignment on
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import ModelError

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LISTS = {  # the type of what they hold, which ggml takes as it is
    "tokenizer.ggml.tokens": STRING,
    "tokenizer.ggml.merges": STRING,
    "tokenizer.ggml.scores": 6,
    "tokenizer.ggml.token_type": 5,
}
FORMATS = {  # ggml's number → name, weights of a block, bytes of a block
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
VERSIONS = (2, 3)
LONGEST_NAME = 64  # bytes of a tensor's name and its end in ggml
ALIGNMENT = 32  # unless the file says another; llama.cpp reads none that is smaller


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file: rows of `data` [..., bytes] hold the numbers of `shape` in ggml's `format`."""

    name: str
    format: str
    shape: tuple[int, ...]
    data: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Contents:
    """What a file says of itself by key, and its tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, Stored]


def read(path: Path) -> Contents:
    """A file's contents, the tensors' bytes left where they lie. Raises ModelError with what is wrong with the file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(24)
            if start[:4] != b"GGUF":
                raise ModelError(f"{path.name} is not a GGUF file: it does not begin with the letters GGUF.")
            if len(start) < 24:
                raise _broken(path, "it ends within its header")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise ModelError(f"{path.name} could not be read ({error.strerror}).") from error
    return _Reader(path, mapped, size).contents()


def _broken(path: Path, why: str) -> ModelError:
    return ModelError(f"{path.name} is no whole GGUF file: {why}; copy or convert it again.")


class _Reader:
    """Reads on from one place of a file to the next."""

    def __init__(self, path: Path, mapped: mmap.mmap, size: int) -> None:
        self._path, self._bytes, self._size, self._at = path, mapped, size, 4

    def contents(self) -> Contents:
        try:
            version = self._one("I")
            if version not in VERSIONS:
                if version in {int.from_bytes(known.to_bytes(4, "big"), "little") for known in VERSIONS}:
                    raise ModelError(f"{self._path.name} is a big-endian GGUF file; only little-endian ones are read.")
                raise ModelError(f"{self._path.name} is a GGUF file of version {version}; versions 2 and 3 are read.")
            tensors, entries = self._one("Q"), self._one("Q")
            if 24 * tensors + 13 * entries > self._size:  # the least that each takes
                raise _broken(self._path, f"its header counts {tensors} tensors and {entries} entries")
            metadata: dict[str, Any] = {}
            for _ in range(entries):
                key = self._string()
                if not key:
                    raise _broken(self._path, "one of its keys is empty")
                if key in metadata:
                    raise _broken(self._path, f"it says {key[:60]!r} twice")
                metadata[key] = self._value_of(key)
            described = [self._described() for _ in range(tensors)]
        except (struct.error, UnicodeDecodeError, RecursionError) as error:
            raise _broken(self._path, "its header is cut short or damaged") from error
        return Contents(metadata, self._tensors(metadata, described))

    def _one(self, code: str) -> Any:
        value = struct.unpack_from("<" + code, self._bytes, self._at)[0]
        self._at += struct.calcsize("<" + code)
        return value

    def _string(self) -> str:
        length = self._one("Q")
        end = self._at + length
        if end > self._size:
            raise _broken(self._path, "its header is cut short or damaged")
        text = self._bytes[self._at : end].decode()
        self._at = end
        return text

    def _value_of(self, key: str) -> Any:
        kind = self._one("I")
        asked = LISTS.get(key)
        if asked is not None and (kind, *struct.unpack_from("<I", self._bytes, self._at)) != (ARRAY, asked):
            raise _broken(self._path, f"its {key} is a list of another type")
        return self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind in SCALARS:
            return self._one(SCALARS[kind])
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            raise _broken(self._path, f"its header has a value of the unknown type {kind}")
        inner, count = self._one("I"), self._one("Q")
        if inner in SCALARS:
            layout = f"<{count}{SCALARS[inner]}" if count <= self._size else "<Q"
            if count > self._size or self._at + struct.calcsize(layout) > self._size:
                raise _broken(self._path, "its header is cut short or damaged")
            values = struct.unpack_from(layout, self._bytes, self._at)
            self._at += struct.calcsize(layout)
            return list(values)
        if 8 * count > self._size:
            raise _broken(self._path, "its header is cut short or damaged")
        return self._strings(count) if inner == STRING else [self._value(inner) for _ in range(count)]

    def _strings(self, count: int) -> list[str]:
        """Hundreds of thousands of words in some files, hence a loop with as little in it as may be."""
        words, data, at, length = [], self._bytes, self._at, struct.Struct("<Q")
        for _ in range(count):
            start = at + 8
            at = start + length.unpack_from(data, at)[0]
            words.append(data[start:at].decode(errors="surrogateescape"))
            if at > self._size:
                raise _broken(self._path, "its header is cut short or damaged")
        self._at = at
        return words

    def _described(self) -> tuple[str, tuple[int, ...], int, int]:
        """A tensor's name, its sizes with rows first, the number of its format, and its offset."""
        name, dimensions = self._string(), self._one("I")
        if len(name.encode()) >= LONGEST_NAME or not name.isprintable():
            raise _broken(self._path, "the name of a tensor is none")
        if not 1 <= dimensions <= 4:
            raise _broken(self._path, f"its tensor {name} has {dimensions} dimensions")
        sizes = tuple(self._one("Q") for _ in range(dimensions))
        return name, sizes[::-1], self._one("I"), self._one("Q")

    def _tensors(
        self, metadata: dict[str, Any], described: list[tuple[str, tuple[int, ...], int, int]]
    ) -> dict[str, Stored]:
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or alignment < ALIGNMENT or alignment & (alignment - 1):
            raise _broken(self._path, f"its alignment is {str(alignment)[:40]}")
        start = -(-self._at // alignment) * alignment
        found: dict[str, Stored] = {}
        place = 0
        for name, shape, number, offset in described:
            if name in found:
                raise _broken(self._path, f"it has two tensors named {name}")
            if offset != place:
                raise _broken(self._path, f"its tensor {name} lies at {offset}, where the one before ends at {place}")
            found[name] = self._stored(name, shape, number, start + offset)
            place += -(-found[name].data.size // alignment) * alignment
        return found

    def _stored(self, name: str, shape: tuple[int, ...], number: int, start: int) -> Stored:
        if number not in FORMATS:
            raise ModelError(
                f"{self._path.name} holds {name} in ggml's format number {number}, which is not read here."
            )
        kind, block, size = FORMATS[number]
        if 0 in shape or shape[-1] % block:
            raise _broken(self._path, f"its tensor {name} has rows of {shape[-1]} numbers in blocks of {block}")
        length = math.prod(shape) // block * size
        if start + length > self._size:
            raise _broken(self._path, f"its tensor {name} ends beyond the end of the file")
        data = np.frombuffer(self._bytes, np.uint8, length, start)
        return Stored(name, kind, shape, data.reshape(*shape[:-1], shape[-1] // block * size))
