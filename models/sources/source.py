"""Where a model's files lie and who it is: the embedded default, a folder, a GGUF file or a Hub id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from models import embedded
from models.errors import ModelError
from models.gguf_files.model import GgufModel
from models.gguf_files.splits import parts_of
from models.sources.commit import commit_of
from models.sources.files import weight_files
from models.sources.readable import refuse_no_gguf, refuse_unreadable
from models.sources.reason import reason_of
from models.sources.wanting import refuse_no_model

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Source:
    """Where a model's files are, and who it is. `gguf` gives the path of its GGUF file, where it has one; what takes long
    to make of it is kept in the folder `cache`."""

    where: str
    name: str
    revision: str | None
    options: Mapping[str, str] = field(default_factory=dict)
    gguf: Callable[[], Path] | None = None
    cache: Path = Path()

    @cached_property
    def file(self) -> GgufModel | None:
        """The GGUF file, where it is all that there is of the model."""
        return self.blocks if self.gguf and self.where.lower().endswith(".gguf") else None

    @cached_property
    def blocks(self) -> GgufModel:
        """The GGUF file, whose blocks may run as they are."""
        assert self.gguf is not None
        return GgufModel(self.gguf(), self.cache, str(self.revision))

    @property
    def in_blocks(self) -> bool:
        """Whether all maps of the layers can run as the blocks of a GGUF file; of the embedded model's it is known."""
        return self.gguf is not None if self.file is None else self.file.layers_in_blocks()

    @contextmanager
    def in_one_sentence(self) -> Iterator[None]:
        """Whatever a loader of foreign files raises becomes one sentence."""
        try:
            yield
        except ModelError:
            raise
        except Exception as error:
            place, advice = f" from {self.where[-120:]}", "fetch or save the model again, or name another one"
            if self.where == self.name:
                place, advice = "", "use a folder with config.json and safetensors, a .gguf file or a reachable Hub id"
            raise ModelError(
                f"The model {self.name!r} could not be loaded{place}: {reason_of(error, self.where)}; {advice}."
            ) from error


def source_of(model: str, revision: str | None, cache: Path) -> Source:
    """The source that `model` names. Raises ModelError where there is none."""
    if model == EMBEDDED:
        where = str(embedded.folder(cache))
        return Source(where, embedded.NAME, embedded.REVISION, gguf=lambda: embedded.gguf_file(cache), cache=cache)
    path = Path(model).expanduser()
    if path.suffix.lower() == ".gguf":
        if not path.exists() and not path.is_symlink():
            raise ModelError(f"There is no file {model}; name an existing .gguf file, a model folder or a Hub id.")
        refuse_no_gguf(path)
        return Source(str(path), path.stem, fingerprint(*parts_of(path)), gguf=lambda: path, cache=cache)
    if (path / "adapter_config.json").is_file():
        raise ModelError(f"{model} holds an adapter, which is not applied here; merge it into the model and name that.")
    if path.is_dir():
        refuse_unreadable(path)
        refuse_no_model(path)
        return Source(str(path), path.resolve().name, folder_revision(path))
    if path.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ModelError(
            f"There is no model folder {model}; name a folder with config.json, a .gguf file or a Hub id such as org/name."
        )
    commit = commit_of(model, revision)
    at = commit or revision
    return Source(model, model, revision or commit, {"revision": at} if at else {})


def folder_revision(path: Path) -> str:
    """The identity of a folder's weights, by the files that are used and no others. Raises ModelError."""
    return fingerprint(*weight_files(path).paths)


def fingerprint(*files: Path) -> str:
    """The identity of weight files: sha256 over every byte, so that two fine-tunings of one model are told apart."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256-{digest.hexdigest()[:16]}"
