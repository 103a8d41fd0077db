"""The tensors of safetensors files by their names, mapped from the files and not read before they are used."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.errors import ModelError
from models.sources.files import Files


def tensors_of(files: Files) -> dict[str, Tensor]:
    """Every tensor of these files. Raises ModelError for a file that is not whole, a tensor that is there twice, and one
    that is not where the index says."""
    found: dict[str, Tensor] = {}
    for path in files.paths:
        for name, tensor in _mapped(path).items():
            if name in found:
                raise ModelError(
                    f"The tensor {name} is in {path} and in another file of the model; remove one of them."
                )
            if files.placed.get(name, path) != path:
                raise ModelError(
                    f"The tensor {name} is in {path} and not in {files.placed[name].name}, as the model's index says; "
                    f"fetch or save the model again."
                )
            found[name] = tensor
    for name in files.placed.keys() - found.keys():
        raise ModelError(
            f"The tensor {name} is not in {files.placed[name]}, where the model's index says it is; fetch or save the model "
            f"again."
        )
    return found


def _mapped(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(f"{path} is no whole safetensors file; fetch or copy the model again.") from error
