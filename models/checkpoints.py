"""Trained heads on disk: NAME.safetensors (float32 weights), NAME.json (what made them), NAME.md (the card).

A head reads the hidden states of one model in one revision; with any other it would predict nonsense in silence, so it
is refused. Only safetensors are ever opened: a file in another format can run code when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import nn

from models import strict_json
from models.adaptive_decoder import AdaptiveDecoder, Head
from models.errors import ModelError
from models.files import read_file, replace_file
from models.kinds import build
from models.meta import FORMAT, Base, Meta

SHIPPED = Path(__file__).parent / "checkpoints"
NAME = re.compile(r"[a-z0-9_][a-z0-9._-]{0,62}")
RULE = "1 to 63 of the characters a-z, 0-9, '.', '_', '-', the first a letter, a digit or '_'"  # NAME in words
READABLE = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,62}")  # a head made before may begin with '-'
WEIGHTS_MOST, TEXT_MOST = 2**30, 2**23  # bytes; those that ship have some ten and a tenth of a million
OTHER_FORMATS = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", "")


@dataclass(frozen=True)
class Checkpoint:
    """A head on disk, its meta read and its weights hashed but not yet loaded."""

    name: str
    folder: Path
    meta: Meta
    sha256: str

    @property
    def id(self) -> str:
        """NAME@first 16 hex digits of the weights' sha256; stamped on every trace."""
        return f"{self.name}@{self.sha256[:16]}"

    @property
    def card(self) -> str:
        """The text of the card; empty where it has been taken away since the head was read."""
        with suppress(OSError):
            return read_file(self.folder / f"{self.name}.md", TEXT_MOST).decode("utf-8", "replace")
        return ""

    def refusal(self, base: Base) -> str | None:
        """Why this head cannot be used with the model `base`, or None if it can."""
        mine = self.meta.base
        choose = "Choose a checkpoint listed for this model."
        same_weights = mine.revision == base.revision and mine.revision.startswith("sha256-")  # a folder may be renamed
        if (mine.model != base.model and not same_weights) or mine.hidden_size != base.hidden_size:
            return (
                f"Checkpoint {self.name!r} was trained on {mine.model!r} (hidden size {mine.hidden_size}) but the loaded "
                f"model is {base.model!r} (hidden size {base.hidden_size}). {choose}"
            )
        if mine.revision != base.revision:
            return (
                f"Checkpoint {self.name!r} was trained on revision {mine.revision!r} of {mine.model!r} but the loaded "
                f"revision is {base.revision!r}. {choose}"
            )
        if mine.vocab_size != base.vocab_size:
            return (
                f"Checkpoint {self.name!r} was trained with a vocabulary of {mine.vocab_size} tokens but the loaded model "
                f"{base.model!r} has {base.vocab_size}. {choose}"
            )
        return None


@dataclass(frozen=True)
class Found:
    """The heads in some folders: those that fit the model, and a sentence for every one that does not."""

    usable: tuple[Checkpoint, ...]
    refused: tuple[str, ...]


def save(folder: Path, name: str, module: nn.Module, meta: Meta, card: str) -> Checkpoint:
    """Writes the three files of a head; the weights as float32, and last, since they are what makes a head known.

    Raises ModelError for a bad name or weights that are NaN.
    """
    if not NAME.fullmatch(name):
        raise ModelError(f"A checkpoint's name has {RULE}, got {name!r}.")
    tensors = {key: value.detach().float().contiguous().cpu() for key, value in module.state_dict().items()}
    _check_tensors(name, tensors, meta)
    weights = to_safetensors(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = describe(Checkpoint(name, folder, meta, hashlib.sha256(weights).hexdigest()), meta, card)
    replace_file(folder / f"{name}.safetensors", weights)
    return checkpoint


def describe(checkpoint: Checkpoint, meta: Meta, card: str) -> Checkpoint:
    """The same weights with this meta and card; both files are written anew."""
    record = {"format": FORMAT, **asdict(meta), "weights_sha256": checkpoint.sha256}
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(checkpoint.folder / f"{checkpoint.name}.json", text.encode())
    replace_file(checkpoint.folder / f"{checkpoint.name}.md", card.encode())
    return replace(checkpoint, meta=meta)


def find(folders: Sequence[Path], base: Base) -> Found:
    """Every head of `folders`, sorted by name. A name that stands in two folders is taken from the first."""
    usable: dict[str, Checkpoint] = {}
    refused: list[str] = []
    seen: set[str] = set()
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")):
            if path.stem in seen:
                continue
            seen.add(path.stem)
            try:
                checkpoint = read(folder, path.stem)
            except ModelError as error:
                refused.append(str(error))
                continue
            reason = checkpoint.refusal(base)
            if reason is None:
                usable[path.stem] = checkpoint
            else:
                refused.append(reason)
    return Found(tuple(usable[name] for name in sorted(usable)), tuple(refused))


def get(folders: Sequence[Path], name: str, base: Base) -> Checkpoint:
    """The head called `name`. Raises ModelError where there is none, or none that fits the model `base`."""
    _check_name(name)
    for folder in folders:
        if any((folder / f"{name}{suffix}").exists() for suffix in (".safetensors", *OTHER_FORMATS)):
            checkpoint = read(folder, name)
            reason = checkpoint.refusal(base)
            if reason is not None:
                raise ModelError(reason)
            return checkpoint
    names = ", ".join(checkpoint.name for checkpoint in find(folders, base).usable) or "none"
    raise ModelError(f"There is no checkpoint {name!r}; listed for {base.model!r}: {names}.")


def require(folders: Sequence[Path], name: str) -> Checkpoint:
    """The head called `name`, for whatever model. Raises ModelError where there is none, or it is damaged."""
    _check_name(name)
    for folder in folders:
        if any((folder / f"{name}{suffix}").exists() for suffix in (".safetensors", *OTHER_FORMATS)):
            return read(folder, name)
    there = sorted({path.stem for folder in folders for path in folder.glob("*.safetensors")})
    raise ModelError(f"There is no checkpoint {name!r}; there are: {', '.join(there) or 'none'}.")


def default_for(kind: str, usable: Sequence[Checkpoint]) -> Checkpoint | None:
    """The head that a policy of this kind takes when none is named: the shipped one, else the first by name."""
    fitting = [checkpoint for checkpoint in usable if checkpoint.meta.kind == kind]
    shipped = [checkpoint for checkpoint in fitting if checkpoint.folder == SHIPPED]
    return next(iter(shipped + fitting), None)


def read(folder: Path, name: str) -> Checkpoint:
    """Meta and hash of one head.

    Raises ModelError where a file is missing, unreadable or no such file, where they do not belong together, and for
    whatever would fail when the head is used.
    """
    _check_name(name)
    weights, tensors = _weights(folder, name)
    meta, expected = _description(folder, name)
    digest = hashlib.sha256(weights).hexdigest()
    if digest != expected:
        raise ModelError(
            f"Checkpoint {name!r} is not the one that {name}.json describes; copy its files together again."
        )
    _check_tensors(name, tensors, meta)
    try:
        read_file(folder / f"{name}.md", TEXT_MOST).decode("utf-8")
    except (OSError, UnicodeError) as error:
        raise ModelError(
            f"Checkpoint {name!r} needs its card {name}.md, a text in UTF-8; copy its files together again."
        ) from error
    return Checkpoint(name, folder, meta, digest)


def stamps(folders: Sequence[Path], name: str | None = None) -> tuple[tuple[str, int, int, int], ...]:
    """What changes whenever a file in these folders does: of the head called `name`, or of all."""
    found = []
    for folder in folders:
        with suppress(OSError):
            for entry in os.scandir(folder):
                if name is None or entry.name.startswith(f"{name}."):
                    with suppress(OSError):
                        status = entry.stat()
                        found.append((entry.path, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(sorted(found))


def _description(folder: Path, name: str) -> tuple[Meta, str]:
    """What NAME.json says, and the hash of the weights that it is about."""
    try:
        record = strict_json.loads(read_file(folder / f"{name}.json", TEXT_MOST).decode("utf-8"))
        return Meta.from_record(record), record["weights_sha256"]
    except Exception as error:  # a file from anywhere: there is no list of what may be wrong with it
        raise ModelError(
            f"Checkpoint {name!r} needs its description {name}.json in the format {FORMAT!r}; save it again with `train`."
        ) from error


def load_head(checkpoint: Checkpoint) -> Head:
    """An AdaptiveDecoder head, ready to decode. Raises ModelError as `load` does."""
    decoder = load(checkpoint)
    assert isinstance(decoder, AdaptiveDecoder)
    return Head(decoder, checkpoint.name)


def load(checkpoint: Checkpoint) -> nn.Module:
    """The module of any kind, float32, in evaluation mode, without gradients.

    Raises ModelError for wrong shapes, NaN weights or a file that changed since it was read.
    """
    name, meta = checkpoint.name, checkpoint.meta
    weights, tensors = _weights(checkpoint.folder, name)
    if hashlib.sha256(weights).hexdigest() != checkpoint.sha256:
        raise ModelError(f"Checkpoint {name!r} changed on disk since it was listed; start the playground again.")
    _check_tensors(name, tensors, meta)
    module = _module(meta)
    module.load_state_dict(tensors)
    return module.eval().requires_grad_(False)


def _module(meta: Meta) -> nn.Module:
    return build(meta.kind, meta.base.hidden_size, meta.base.vocab_size, meta.width, len(meta.grid), meta.settings)


def _check_name(name: str) -> None:
    if not READABLE.fullmatch(name):
        raise ModelError(f"A checkpoint's name has {RULE}, got {name!r}.")


def _weights(folder: Path, name: str) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The bytes of NAME.safetensors and its tensors. Never opens anything else."""
    path = folder / f"{name}.safetensors"
    refusal = (
        f"Checkpoint {name!r} is not a safetensors file, the only format that is opened; save it again with `train`."
    )
    try:
        if not path.is_file() and any((folder / f"{name}{suffix}").exists() for suffix in OTHER_FORMATS):
            raise ModelError(refusal)
        weights = read_file(path, WEIGHTS_MOST)
    except OSError as error:
        raise ModelError(f"Checkpoint {name!r} could not be read ({error.strerror}): {path.name}.") from error
    try:
        return weights, parse_safetensors(weights)
    except Exception as error:  # a file from anywhere: there is no list of what may be wrong with it
        raise ModelError(refusal) from error


def _check_tensors(name: str, tensors: Mapping[str, torch.Tensor], meta: Meta) -> None:
    """Raises ModelError for weights that are not those of such a head, or that could not give it a number."""
    try:
        with torch.device("meta"):
            wanted = _module(meta).state_dict()
    except (ValueError, RuntimeError, TypeError) as error:
        raise ModelError(f"Checkpoint {name!r} is described with sizes that no head has; train it again.") from error
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    expected = {key: tuple(value.shape) for key, value in wanted.items()}
    if shapes != expected:
        wrong = sorted(key for key in shapes.keys() | expected.keys() if shapes.get(key) != expected.get(key))
        raise ModelError(
            f"Checkpoint {name!r} holds other tensors than its description says (first: {wrong[0]!r:.80}, got "
            f"{shapes.get(wrong[0])!s:.80}, expected {expected.get(wrong[0])}); save it again with `train`."
        )
    if not all(value.is_floating_point() and torch.isfinite(value.float()).all() for value in tensors.values()):
        raise ModelError(f"Checkpoint {name!r} holds NaN or infinite weights; train it again.")
    if "scale" in tensors and not (tensors["scale"].float() > 0).all():
        raise ModelError(f"Checkpoint {name!r} divides by spreads of 0 or less; train it again.")
