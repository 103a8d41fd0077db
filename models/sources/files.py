"""Which files of a folder hold a model's weights: those that transformers would read, and no others beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import ModelError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


@dataclass(frozen=True)
class Files:
    """The files in the order of their names, and which of them an index says to hold each tensor."""

    paths: tuple[Path, ...] = ()
    placed: Mapping[str, Path] = field(default_factory=dict)


def weight_files(folder: Path) -> Files:
    """The files that hold the weights; none where the folder has none under a known name.

    An index decides over whatever else lies in the folder. Raises ModelError for an index that cannot be followed, and
    where an index and a file beside it are two models.
    """
    named = _named(folder)
    if named is not None:
        return _indexed(named) if named.suffix == ".json" else Files((named,))
    for single, index in ((SINGLE, INDEX), (PICKLED, PICKLED_INDEX)):
        one, shards = folder / single, folder / index
        if not shards.is_file():
            if one.is_file():
                return Files((one,))
            continue
        if not one.is_file():
            return _indexed(shards)
        names = set(_weight_map(shards).values())
        if names == {single}:
            return _indexed(shards)
        if not all((folder / name).is_file() for name in names):
            return Files((one,))  # an index that was left over, as transformers sees it
        raise ModelError(
            f"{folder} holds two models: {single}, and what {index} names; remove the one that is not meant."
        )
    return Files()


def _named(folder: Path) -> Path | None:
    """The file or index that the configuration itself names, which transformers then reads."""
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("transformers_weights")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    if name is None:
        return None
    path = folder / str(name)
    if not inside(str(name)) or not path.is_file():
        raise ModelError(
            f"The configuration in {folder} names the weights {name}, which are not in it; correct the name."
        )
    return path


def inside(name: str) -> bool:
    """Whether a name leads to no other folder than the one that it is said in."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _indexed(index: Path) -> Files:
    folder, placed = index.parent, {}
    for tensor, name in _weight_map(index).items():
        path = folder / name
        if not inside(name):
            raise ModelError(f"{index} names {name!r} for {tensor}, which lies outside its folder; correct the index.")
        if not path.is_file():
            raise ModelError(
                f"{index} names {name} for {tensor}, but there is no such file; fetch or copy the whole model again."
            )
        placed[tensor] = path
    return Files(tuple(sorted(set(placed.values()))), placed)


def _weight_map(index: Path) -> dict[str, str]:
    """The name of the file that holds each tensor, as an index says it."""
    try:
        said: Any = json.loads(index.read_text(encoding="utf-8"))
        found = said["weight_map"]
        if isinstance(found, dict) and found and all(isinstance(name, str) and name for name in found.values()):
            return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ModelError(f"{index} is no index of a model's files; fetch or save the model again.")
