"""The safetensors files of a model, in its folder or fetched from the Hub."""

from __future__ import annotations

import json
from pathlib import Path

from transformers.utils import cached_file

from models.sources.files import INDEX, SINGLE, Files, inside, weight_files
from models.sources.source import Source


def files_of(source: Source) -> Files:
    """The files; none where the weights are in another format. Raises ModelError where they cannot be told."""
    folder = Path(source.where)
    if not folder.is_dir():
        found = _fetched(source)
        if found is None:
            return Files()
        folder = found
    files = weight_files(folder)
    return files if all(path.suffix == ".safetensors" for path in files.paths) else Files()


def _fetched(source: Source) -> Path | None:
    """The folder of the Hub's cache with the files of the commit."""

    def fetch(name: str) -> str | None:
        found: str | None = cached_file(
            source.where, name, revision=source.options.get("revision"), _raise_exceptions_for_missing_entries=False
        )
        return found

    one = fetch(SINGLE)
    if one is not None:
        return Path(one).parent
    index = fetch(INDEX)
    if index is None:
        return None
    shards = set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())
    for name in sorted(shards):
        if inside(str(name)):
            fetch(str(name))
    return Path(index).parent
