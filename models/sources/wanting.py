"""What a folder is that holds no model which can be loaded: an adapter, an export for another program, half a download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from models.errors import ModelError
from models.sources.files import weight_files

UNFINISHED: Final = (".incomplete", ".part", ".crdownload", ".aria2", ".tmp", ".download")


def refuse_no_model(folder: Path) -> None:
    """Raises ModelError where the folder has no config.json, or no weights that transformers would read."""
    wanting = "" if (folder / "config.json").is_file() else "no config.json"
    if not wanting and not weight_files(folder).paths:
        wanting = "no weights under a name that is read, such as model.safetensors"
    if wanting:
        what = next(
            (said for said in (look(folder) for look in LOOKS) if said), "name a folder that holds a whole model"
        )
        raise ModelError(f"{folder} holds {wanting}; {what}.")


def _adapter(folder: Path) -> str:
    there = any(folder.glob("adapter_model.*"))
    return "it is an adapter such as LoRA, which must be merged into its base model first" if there else ""


def _gguf(folder: Path) -> str:
    files = sorted(folder.glob("*.gguf"))
    return f"name its GGUF file itself, {files[0]}" if files else ""


def _unfinished(folder: Path) -> str:
    files = sorted(path.name for path in folder.iterdir() if path.suffix in UNFINISHED)
    return f"its download is not finished ({files[0]}), so fetch it again" if files else ""


def _onnx(folder: Path) -> str:
    there = any(folder.glob("*.onnx")) or any(folder.glob("onnx/*.onnx"))
    return "it is an export to ONNX, so use the safetensors that it was made from" if there else ""


def _images(folder: Path) -> str:
    return "it is a pipeline of diffusers, which writes no text" if (folder / "model_index.json").exists() else ""


def _sentences(folder: Path) -> str:
    there = (folder / "config_sentence_transformers.json").exists()
    return "it is a model of sentence embeddings, which writes no text" if there else ""


def _other_library(folder: Path) -> str:
    found = {
        "TensorFlow": any(folder.glob("tf_model*.h5")),
        "Flax": any(folder.glob("flax_model*.msgpack")),
        "NeMo": any(folder.glob("*.nemo")),
        "Megatron or another trainer": any(folder.glob("mp_rank_*")) or any(folder.glob("global_step*")),
    }
    name = next((name for name, there in found.items() if there), "")
    return f"its weights are those of {name}, so convert them to safetensors first" if name else ""


def _original(folder: Path) -> str:
    there = (folder / "params.json").exists() or any(folder.glob("consolidated.*"))
    return "it is a model in its makers' own form, so use the one that was converted for transformers" if there else ""


def _pickled(folder: Path) -> str:
    files = sorted(path.name for pattern in ("*.pt", "*.pth", "*.ckpt", "*.pkl") for path in folder.glob(pattern))
    return f"{files[0]} is a pickle, which is not opened, so save the model as safetensors" if files else ""


def _shards(folder: Path) -> str:
    there = (folder / "config.json").exists() and any(folder.glob("*.safetensors"))
    return (
        "its safetensors need the names that save_pretrained gives them, or the index that lists them" if there else ""
    )


def _folders(folder: Path) -> str:
    places = ("models--*/snapshots/*/config.json", "snapshots/*/config.json", "*/config.json")
    inner = next((found for found in (sorted(folder.glob(place)) for place in places) if found), [])
    return f"name the folder of one model, such as {inner[0].parent}" if inner else ""


LOOKS: Final[tuple[Callable[[Path], str], ...]] = (
    _adapter,
    _gguf,
    _unfinished,
    _onnx,
    _images,
    _sentences,
    _other_library,
    _original,
    _pickled,
    _shards,
    _folders,
)
