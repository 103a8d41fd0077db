"""A tensor of a GGUF file as weights: the blocks that the 4-bit kernel takes, or dense.

Blocks of Q4_0, Q4_1 and Q8_0 and plain numbers are read from the file. The other formats (Q5_0 … IQ4_XS) take
minutes to unpack for a large model, so what comes of them is kept as float16 for the next start.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.errors import ModelError
from models.gguf_files.reader import Stored
from models.llama.blocks import HEADERS, Blocks, from_bytes

PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
KEPT = "gguf-unpacked"  # a folder of the cache

log = logging.getLogger(__name__)


def weight_of(stored: Stored) -> Tensor | Blocks:
    """The weight in the file's own precision: blocks, plain numbers, or float32 where they have to be unpacked."""
    if stored.format in HEADERS:
        rows = torch.from_numpy(stored.data)
        return from_bytes(rows, stored.format)
    if stored.format in PLAIN:
        return torch.from_numpy(stored.data).view(PLAIN[stored.format])
    return _unpacked(stored)


def dense_of(stored: Stored) -> Tensor:
    """The weight as float32, exactly the file's."""
    weight = weight_of(stored)
    return weight.dense() if isinstance(weight, Blocks) else weight.float()


def weights_of(tensors: Mapping[str, Stored], kept: Path) -> dict[str, Tensor | Blocks]:
    """Every tensor by its name, those that have to be unpacked as float16 from `kept`, which is made where it is not whole."""
    packed = {name: stored for name, stored in tensors.items() if stored.format not in HEADERS | PLAIN}
    if not packed:
        return {name: weight_of(stored) for name, stored in tensors.items()}
    unpacked = _remembered(kept, packed) or _kept(kept, packed)
    return {name: unpacked[name] if name in unpacked else weight_of(stored) for name, stored in tensors.items()}


def _unpacked(stored: Stored) -> Tensor:
    import gguf

    try:
        values = gguf.dequantize(stored.data, gguf.GGMLQuantizationType[stored.format])
    except NotImplementedError as error:
        raise ModelError(f"{stored.name} is stored as {stored.format}, which is not unpacked here.") from error
    return torch.from_numpy(values.copy())


def _remembered(kept: Path, packed: Mapping[str, Stored]) -> dict[str, Tensor]:
    """What an earlier start has unpacked, or nothing where that is not whole."""
    if not kept.is_file():
        return {}
    try:
        found = load_file(kept)
    except (SafetensorError, OSError):
        return {}
    fits = found.keys() == packed.keys() and all(
        tensor.dtype == torch.float16 and tuple(tensor.shape) == packed[name].shape for name, tensor in found.items()
    )
    return found if fits else {}


def _kept(kept: Path, packed: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Unpacks the tensors and keeps them, whole or not at all. A full disk costs the next start its time, no more."""
    unpacked = {name: _unpacked(stored).half() for name, stored in packed.items()}
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            save_file(unpacked, Path(scratch) / "unpacked")
            os.replace(Path(scratch) / "unpacked", kept)
    except (SafetensorError, OSError) as error:
        log.warning("The unpacked weights could not be kept in %s (%s).", kept.parent, error)
    return unpacked
