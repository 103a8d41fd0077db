"""What people have lying around and take for a model: adapters, exports for other programs, old and half files, parts."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import torch
from safetensors.torch import save_file

from benchmarks.damage import bases
from benchmarks.damage.gguf_file import ARRAY, BOOL, F32, I32, STRING, U32, GgufFile, Tensor
from benchmarks.damage.kind import REFUSED, Kind
from benchmarks.damage.odd_kinds import PAGE, POINTER

FOLDER: Final = ("a folder",)
FILE: Final = ("a file.gguf",)
PLACES: Final = (*FOLDER, *FILE)


def _texts(folder: Path, **files: Any) -> str:
    """A folder with these files; objects become JSON."""
    folder.mkdir()
    for name, value in files.items():
        path = folder / name.replace("__", ".").replace("_of_", "-of-")
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"


LLAMA: Final = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 420, **bases.SHAPE}


def adapter(folder: Path, rng: Random) -> str:
    """A LoRA adapter, with or without its base at hand."""
    base = rng.choice([None, "nobody/nothing-7b", "../nowhere", "", 3])
    told = _texts(
        folder,
        adapter_config__json={"peft_type": "LORA", "base_model_name_or_path": base, "r": 8, "task_type": "CAUSAL_LM"},
    )
    save_file(
        {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(8, 64)},
        folder / "adapter_model.safetensors",
    )
    return f"{told}, base {base!r}"


def onnx(folder: Path, rng: Random) -> str:
    told = _texts(folder, config__json=LLAMA)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"\x08\x07")
    return told


def mlx(folder: Path, rng: Random) -> str:
    told = _texts(
        folder,
        config__json={
            **LLAMA,
            "quantization": {"group_size": 64, "bits": 4},
            "quantization_config": {"group_size": 64, "bits": 4},
        },
    )
    bases.words.pieces().save_pretrained(folder)
    name = "model.layers.0.self_attn.q_proj"
    save_file(
        {
            f"{name}.weight": torch.ones(64, 8, dtype=torch.int32),
            f"{name}.scales": torch.ones(64, 1),
            f"{name}.biases": torch.ones(64, 1),
        },
        folder / "model.safetensors",
    )
    return told


def quantised(method: str) -> Callable[[Path, Random], str]:
    def make(folder: Path, rng: Random) -> str:
        told = _texts(
            folder, config__json={**LLAMA, "quantization_config": {"quant_method": method, "bits": 4, "group_size": 32}}
        )
        bases.words.pieces().save_pretrained(folder)
        name = "model.layers.0.self_attn.q_proj"
        save_file(
            {f"{name}.qweight": torch.ones(8, 64, dtype=torch.int32), f"{name}.scales": torch.ones(2, 64).half()},
            folder / "model.safetensors",
        )
        return f"{told}, {method}"

    return make


def made_of(**files: Any) -> Callable[[Path, Random], str]:
    return lambda folder, rng: _texts(folder, **files)


def folder_of_folders(folder: Path, rng: Random) -> str:
    (folder / "a" / "b").mkdir(parents=True)
    bases.make(folder / "models")
    return "folders of models"


def hub_cache(folder: Path, rng: Random) -> str:
    """A repository as the Hub's cache keeps it."""
    snapshot = folder / "models--nobody--nothing" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    return "a cache of the Hub"


def only_gguf(folder: Path, rng: Random) -> str:
    folder.mkdir()
    bases.gguf_file(bases.FILES[1]).write(folder / "model-q4.gguf")
    return "a folder with a GGUF file alone"


def other_models(folder: Path, rng: Random) -> str:
    """A folder of a kind of model that writes no text."""
    kind, architecture = rng.choice(
        [
            ("bert", "BertModel"),
            ("clip", "CLIPModel"),
            ("whisper", "WhisperForConditionalGeneration"),
            ("t5", "T5ForConditionalGeneration"),
            ("vit", "ViTModel"),
            ("wav2vec2", "Wav2Vec2ForCTC"),
            ("marian", "MarianMTModel"),
            ("sam", "SamModel"),
            ("xlm-roberta", "XLMRobertaModel"),
        ]
    )
    told = _texts(folder, config__json={"model_type": kind, "architectures": [architecture]})
    bases.words.pieces().save_pretrained(folder)
    save_file({"embeddings.weight": torch.ones(8, 8)}, folder / "model.safetensors")
    return f"{told} of {architecture}"


def pointers(folder: Path, rng: Random) -> str:
    """A clone without Git LFS: every large file is a pointer."""
    sharded = rng.random() < 0.5
    files = (
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] if sharded else ["model.safetensors"]
    )
    told = _texts(folder, config__json=LLAMA)
    bases.words.pieces().save_pretrained(folder)
    for name in files:
        (folder / name).write_bytes(POINTER)
    if sharded:
        places = {"model.embed_tokens.weight": files[0], "model.norm.weight": files[1]}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    if rng.random() < 0.5:
        (folder / "tokenizer.json").write_bytes(POINTER)
    return told


def archive(path: Path, rng: Random) -> str:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/config.json", "{}")
    return "a zip file"


def bytes_(raw: bytes) -> Callable[[Path, Random], str]:
    def make(path: Path, rng: Random) -> str:
        path.write_bytes(raw)
        return f"{raw[:30]!r} …"

    return make


def part(
    architecture: str, kind: str | None, tensors: tuple[str, ...], *more: tuple[str, int, Any]
) -> Callable[[Path, Random], str]:
    """A GGUF file that holds no language model."""

    def make(path: Path, rng: Random) -> str:
        file = GgufFile()
        file.add("general.architecture", STRING, architecture)
        if kind:
            file.add("general.type", STRING, kind)
        for entry in more:
            file.add(*entry)
        for name in tensors:
            file.tensors.append(Tensor(name, [64, 8], 0, struct.pack("<512f", *[0.5] * 512)))
        file.write(path)
        return f"{architecture}, {kind}"

    return make


def vocabulary_only(path: Path, rng: Random) -> str:
    file = bases.gguf_file(rng.choice(bases.FILES))
    file.tensors = []
    file.write(path)
    return "a vocabulary alone"


def first_of_two(path: Path, rng: Random) -> str:
    file = bases.gguf_file(bases.FILES[1])
    file.tensors = file.tensors[: len(file.tensors) // 2]
    file.add("split.no", 2, rng.choice([0, 1]))
    file.add("split.count", 2, 2)
    file.add("split.tensors.count", I32, 2 * len(file.tensors))
    file.write(path)
    return "one of two splits"


BERT: Final = (
    ("bert.block_count", U32, 1),
    ("bert.embedding_length", U32, 64),
    ("bert.context_length", U32, 64),
    ("bert.feed_forward_length", U32, 128),
    ("bert.attention.head_count", U32, 4),
    ("bert.attention.layer_norm_epsilon", F32, 1e-12),
    ("bert.attention.causal", BOOL, False),
    ("bert.pooling_type", U32, 1),
)

_NO_MODEL: Final[dict[str, tuple[Callable[[Path, Random], str], str]]] = {
    "LoRA adapter": (adapter, "adapter"),
    "ONNX": (onnx, "ONNX"),
    "MLX, 4 bits": (mlx, ""),
    "GPTQ": (quantised("gptq"), ""),
    "AWQ": (quantised("awq"), ""),
    "EXL2": (quantised("exl2"), ""),
    "folder of folders": (folder_of_folders, ""),
    "cache of the Hub": (hub_cache, ""),
    "GGUF file in a folder": (only_gguf, ".gguf"),
    "model that writes no text": (other_models, ""),
    "Git LFS pointers": (pointers, "Git LFS"),
    "empty folder": (made_of(), "config.json"),
    "diffusers": (made_of(model_index__json={"_class_name": "StableDiffusionPipeline"}), ""),
    "original Llama": (made_of(params__json={"dim": 64}, tokenizer__model=b"\n"), ""),
    "TensorFlow": (made_of(config__json=LLAMA, tf_model__h5=b"\x89HDF"), ""),
    "Flax": (made_of(config__json=LLAMA, flax_model__msgpack=b"\x80"), ""),
    "tokenizer alone": (made_of(tokenizer__json={}, tokenizer_config__json={}), "config.json"),
    "configuration alone": (made_of(config__json=LLAMA), ""),
    "sentence transformer": (made_of(modules__json=[], config_sentence_transformers__json={}), ""),
}
_NO_FILE: Final[dict[str, tuple[Callable[[Path, Random], str], str]]] = {
    "error page": (bytes_(PAGE), "web page"),
    "Git LFS pointer": (bytes_(POINTER), "Git LFS"),
    "GGML before GGUF": (bytes_(b"tjgg\x03\0\0\0" + bytes(4000)), ""),
    "zip": (archive, ""),
    "pickle": (bytes_(b"\x80\x02}q\x00." + bytes(100)), ""),
    "program with a model in it": (bytes_(b"MZqFpD='\n" + bytes(4000)), ""),
    "safetensors": (bytes_(struct.pack("<Q", 2) + b"{}"), ""),
    "projector of images": (part("clip", "mmproj", ("v.patch_embd.weight",)), ""),
    "embedding model": (part("bert", "model", ("token_embd.weight",), *BERT), ""),
    "adapter": (
        part(
            "llama",
            "adapter",
            ("blk.0.attn_q.weight.lora_a",),
            ("adapter.type", STRING, "lora"),
            ("adapter.lora.alpha", F32, 16.0),
        ),
        "adapter",
    ),
    "importance matrix": (
        part("llama", "imatrix", ("blk.0.attn_q.weight.in_sum2",), ("imatrix.datasets", ARRAY, (STRING, ["x"]))),
        "",
    ),
    "importance matrix without architecture": (part("", "imatrix", ("blk.0.attn_q.weight.in_sum2",)), ""),
    "control vector": (
        part("controlvector", None, ("direction.1",), ("controlvector.model_hint", STRING, "llama")),
        "",
    ),
    "vocabulary alone": (vocabulary_only, ""),
    "one split of two": (first_of_two, ""),
    "image generation": (part("flux", "model", ("double_blocks.0.img_attn.qkv.weight",)), ""),
    "speech": (part("whisper", "model", ("encoder.conv1.weight",)), ""),
}

KINDS = (
    *(Kind(f"folder: {name}", make, REFUSED, FOLDER, says) for name, (make, says) in _NO_MODEL.items()),
    *(Kind(f"file: {name}", make, REFUSED, FILE, says) for name, (make, says) in _NO_FILE.items()),
)
