"""What a command judges before it loads the language model: the heads it names, and the places it will write to.

Each raises PlaygroundError, ModelError or OSError, all of which the command line says in one sentence.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from models import checkpoints
from models.checkpoints import NAME, RULE
from playground.errors import PlaygroundError


def named_heads(folders: Sequence[Path], names: Iterable[str]) -> None:
    """The heads of these names lie in the folders and are whole; whether they fit the model is seen later."""
    for name in names:
        checkpoints.require(folders, name)


def place_of_head(folder: Path, name: str) -> None:
    """A head called `name` can be written to `folder`, which is made."""
    if not NAME.fullmatch(name):
        raise PlaygroundError(f"`out` must have {RULE}, got {name[:80]!r}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlaygroundError(f"`folder` cannot be written ({error.strerror}: {folder}); choose another.") from error
    if not os.access(folder, os.W_OK):
        raise PlaygroundError(f"`folder` cannot be written ({folder}); choose another.")


def output(path: Path) -> None:
    """A file can be written at `path`; nothing is made yet."""
    if path.is_dir():
        raise _refused(errno.EISDIR, path)
    output_folder(path.parent)


def output_folder(folder: Path) -> None:
    """Files can be written in `folder`, once it and the folders above it are made."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise _refused(errno.ENOTDIR, folder)
    if not os.access(there, os.W_OK | os.X_OK):
        raise _refused(errno.EACCES, folder)


def _refused(code: int, path: Path) -> OSError:
    return OSError(code, os.strerror(code), str(path))
