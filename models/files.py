"""Files that are whole or not there, and no larger than expected."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Raises OSError for a larger one and for what is no file:
    reading a pipe or a device could wait, or go on, for ever."""
    if size_of(path) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes")
    return path.read_bytes()


def size_of(path: Path) -> int:
    """The bytes of a regular file, or of what a link leads to. Raises OSError for what is none."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return found.st_size


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file at once: a kill leaves the former content or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    os.replace(draft, path)
