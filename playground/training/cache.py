"""Tensors that are costly to make, kept on disk under the sha256 of what determines them; a damaged file is made anew."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.files import size_of


def cached(folder: Path, key: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What `make` returns, from `folder` where it has been made before. Written whole or not at all."""
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    try:
        size_of(path)  # a pipe would be waited for
        return load_file(path)
    except (OSError, SafetensorError):
        made = {name: value.contiguous() for name, value in make().items()}
    folder.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    save_file(made, scratch)
    os.replace(scratch, path)
    return made
