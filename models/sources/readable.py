"""Whether what lies in a model folder can be read as its files: looked at before any library opens them, so that nothing
is waited for and every refusal names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from models.errors import ModelError

OBJECTS: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
OTHERS: Final = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
)
WEIGHTS: Final = ("model*.safetensors", "pytorch_model*.bin")
LARGEST: Final = 64 << 20  # bytes of a file of text
POINTER, PAGES = b"version https://git-lfs", (b"<!doctype", b"<html", b"<?xml")


def refuse_unreadable(folder: Path) -> None:
    """Raises ModelError for the first file of a model that is none, or holds something else than its name says."""
    try:
        weights = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))
        for path in [*(folder / name for name in (*OBJECTS, *OTHERS)), *weights]:
            if path.is_symlink() or path.exists():
                refuse_no_file(path)
        for name in OBJECTS:
            if (folder / name).exists():
                _refuse_no_object(folder / name)
    except OSError as error:
        raise ModelError(f"{folder} could not be read: {error.strerror or error}.") from error
    for path in weights:
        _refuse_no_header(path)
    template = folder / "chat_template.jinja"
    if template.exists() and template.stat().st_size <= LARGEST:
        _refuse_not_utf8(template)
    for path in (folder / name for name in OTHERS if name != "tokenizer.model"):
        if path.exists() and path.stat().st_size > LARGEST:
            raise ModelError(f"{path} is too large for a file of text; fetch or save the model again.")


def refuse_no_file(path: Path) -> None:
    """Raises ModelError where there is no regular file, or one that stands in for another: a pointer of Git LFS, a web page."""
    if not path.exists():
        raise ModelError(f"{path} is a link to a file that is not there; fetch or copy the model again.")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise ModelError(f"{path} is {what}, where a file of the model must be; fetch or copy the model again.")
    with path.open("rb") as file:
        begins = file.read(64)
    if begins.startswith(POINTER):
        raise ModelError(
            f"{path} is a pointer of Git LFS in place of the file itself; run `git lfs pull` in its folder."
        )
    if begins.lstrip().lower().startswith(PAGES):
        raise ModelError(f"{path} is a web page that was saved under the file's name; fetch the file again.")
    if not begins and path.suffix != ".jinja":
        raise ModelError(f"{path} is empty; fetch or copy the model again.")


def _refuse_not_utf8(path: Path) -> None:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} must be text in UTF-8, and is not; fetch or save the model again.") from error


def refuse_no_gguf(path: Path) -> None:
    """Raises ModelError where there is no GGUF file at this path."""
    try:
        refuse_no_file(path)
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise ModelError(f"{path} could not be read: {error.strerror or error}.") from error
    if begins != b"GGUF":
        raise ModelError(f"{path} is no GGUF file, since it does not begin with the letters GGUF; name one that is.")


def _refuse_no_header(path: Path) -> None:
    """Raises ModelError where a file of safetensors cannot even begin as one, before all of it is read for its hash."""
    if path.suffix != ".safetensors":
        return
    with path.open("rb") as file:
        begins = file.read(9)
    length = int.from_bytes(begins[:8], "little")
    if begins[8:] != b"{" or not 2 <= length <= path.stat().st_size - 8:
        raise ModelError(f"{path} is no whole safetensors file; fetch or copy the model again.")


def _refuse_no_object(path: Path) -> None:
    reason = "it is too large"
    if path.stat().st_size <= LARGEST:
        reason = _flaw(path)
    if reason:
        raise ModelError(
            f"{path} must hold one JSON object in UTF-8, and does not ({reason}); fetch or save the model again."
        )


def _flaw(path: Path) -> str:
    """What keeps a file from being one JSON object; empty where nothing does."""
    try:
        said: Any = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error).removesuffix(")").replace(" (char", ", character")
    return "" if isinstance(said, dict) else "it holds something else"
