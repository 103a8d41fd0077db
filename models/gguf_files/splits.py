"""The parts of a model that was split over several GGUF files, as in name-00001-of-00003.gguf."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.gguf_files.metadata import shown
from models.gguf_files.reader import Contents, Stored, read

NAMED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"


def parts_of(path: Path) -> list[Path]:
    """All files of the model of which `path` is one. Raises ModelError where one is missing."""
    named = NAMED.fullmatch(path.name)
    if named is None:
        return [path]
    count = int(named["count"])
    suffix = path.name[-5:]
    parts = [path.with_name(f"{named['stem']}-{number:05}-of-{count:05}{suffix}") for number in range(1, count + 1)]
    missing = next((part for part in parts if not part.is_file()), None)
    if missing is not None or path not in parts:
        raise ModelError(
            f"{path.name} is one of {count} parts of a model, and {(missing or path).name} is "
            f"{'not beside it' if missing else 'none of them'}; put all parts into one folder."
        )
    return parts


def joined(path: Path) -> Contents:
    """The model of which `path` is a part, or the whole: what its first file says, and the tensors of all."""
    parts = parts_of(path)
    contents = [read(part) for part in parts]
    said: dict[str, Any] = contents[0].metadata
    count = said.get(COUNT) or 1
    if count != len(parts):
        raise ModelError(
            f"{path.name} is one of {count} parts of a model, but is not named as such (as in "
            f"model-00001-of-{count:05}.gguf); give the parts their names back."
        )
    tensors: dict[str, Stored] = {}
    for number, (part, content) in enumerate(zip(parts, contents, strict=True)):
        if count > 1 and content.metadata.get(NUMBER) != number:
            raise ModelError(
                f"{part.name} says that it is part {shown(content.metadata.get(NUMBER))} of its model; rename it."
            )
        if doubled := tensors.keys() & content.tensors.keys():
            raise ModelError(f"{part.name} holds {min(doubled)} a second time; copy the parts again.")
        tensors |= content.tensors
    if count > 1 and said.get(TENSORS) not in (None, len(tensors)):
        raise ModelError(
            f"{path.name} and its other parts hold {len(tensors)} of {said[TENSORS]} tensors; copy them again."
        )
    return Contents(said, tensors)
