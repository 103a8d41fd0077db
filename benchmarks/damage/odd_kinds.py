"""What may lie in place of a file, or beside the files, of a model: links, pipes, pages, pointers, other programs' files."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import torch
from safetensors.torch import load_file

from benchmarks.damage.bases import FILES
from benchmarks.damage.kind import ALL, EITHER, REFUSED, RIGHT, Kind

POINTER: Final = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 513384\n"
PAGE: Final = b"<!DOCTYPE html>\n<html><head><title>404: Not Found</title></head><body>Entry not found</body></html>\n"
NAMES: Final = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)
RAN: Final = "ran"  # beside the model: exists once foreign code has run


class Canary:
    """A pickle that leaves a trace where it is opened as one."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (open, (str(self.trace), "w"))


def huge(path: Path) -> None:
    """A file of a terabyte that takes no room."""
    with path.open("wb") as file:
        file.truncate(2**40)


IN_PLACE: Final[dict[str, Callable[[Path], object]]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "empty file": Path.touch,
    "page": lambda path: path.write_bytes(PAGE),
    "Git LFS pointer": lambda path: path.write_bytes(POINTER),
    "huge file": huge,
}


def weights_replaced(what: str) -> Callable[[Path, Random], str]:
    def damage(path: Path, rng: Random) -> str:
        file = path if path.is_file() else rng.choice(sorted(path.glob("*.safetensors")))
        file.unlink()
        IN_PLACE[what](file)
        return f"{file.name} is a {what}"

    return damage


def text_replaced(folder: Path, rng: Random) -> str:
    name, what = rng.choice(NAMES), rng.choice(sorted(set(IN_PLACE) - {"empty file"}))
    (folder / name).unlink(missing_ok=True)
    IN_PLACE[what](folder / name)
    return f"{name} is a {what}"


def stray(folder: Path, rng: Random) -> str:
    """What other programs leave beside a model; no weight of it."""
    name = rng.choice(
        [
            "README.md",
            ".DS_Store",
            "training_args.bin",
            "pipe",
            "added_tokens.json.bak",
            "runs",
            "optimizer.pt",
            "scheduler.pt",
            "nowhere",
            "onnx/model.onnx",
            "model.gguf",
            ".cache/huggingface/x.incomplete",
            "vocab.txt",
        ]
    )
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name in ("pipe", "nowhere"):
        IN_PLACE["pipe" if name == "pipe" else "link to nowhere"](path)
    else:
        path.write_bytes(rng.choice([b"", b"\x00\x01", PAGE]))
    return f"{name} beside the model"


def pickled(folder: Path, rng: Random) -> str:
    """The weights in the old form, which transformers reads without running what is in it."""
    tensors: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors*")):
        if file.suffix == ".safetensors":
            tensors |= load_file(file)
        file.unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return "weights in pytorch_model.bin"


def canary(folder: Path, rng: Random) -> str:
    """The same with a program in it, which must never run."""
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    name = rng.choice(
        [
            "pytorch_model.bin",
            "model.pt",
            "pytorch_model.pt",
            "consolidated.00.pth",
            "model.safetensors",
            "pytorch_model-00001-of-00002.bin",
        ]
    )
    with (folder / name).open("wb") as file:
        pickle.dump({"model.embed_tokens.weight": Canary(folder.parent / RAN)}, file)
    return f"{name} with a program in it"


def canary_beside(folder: Path, rng: Random) -> str:
    name = rng.choice(["pytorch_model.bin", "training_args.bin", "optimizer.pt", "tokenizer.pkl"])
    with (folder / name).open("wb") as file:
        pickle.dump({"x": Canary(folder.parent / RAN)}, file)
    return f"{name} with a program in it beside the model"


def unfinished(folder: Path, rng: Random) -> str:
    file = rng.choice(sorted(folder.glob("*.safetensors")))
    name = file.with_name(file.name + rng.choice([".incomplete", ".part", ".crdownload", ".aria2"]))
    name.write_bytes(file.read_bytes()[:5000])
    file.unlink()
    return f"{name.name} in place of {file.name}"


KINDS = (
    *(
        Kind(f"weights: {what}", weights_replaced(what), REFUSED, (*ALL, *FILES))
        for what in IN_PLACE
        if what != "Git LFS pointer"
    ),
    Kind("weights: Git LFS pointer", weights_replaced("Git LFS pointer"), REFUSED, (*ALL, *FILES), "Git LFS"),
    Kind("text: no file of text", text_replaced),
    Kind("stray file", stray, RIGHT),
    Kind("weights in a pickle", pickled, EITHER),
    Kind("weights in a pickle with a program", canary, REFUSED),
    Kind("pickle beside the weights", canary_beside, RIGHT),
    Kind("download not finished", unfinished, REFUSED),
)
