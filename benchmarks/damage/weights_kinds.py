"""Damage to a folder's weights: the bytes of a safetensors file, its header, its tensors, and the index of shards."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.damage.bases import SHARDED
from benchmarks.damage.kind import EITHER, REFUSED, RIGHT, Kind

Tensors = dict[str, torch.Tensor]
SINGLE = ("llama", "gpt_neox")
INDEX = "model.safetensors.index.json"


def _file(folder: Path, rng: Random) -> Path:
    return rng.choice(sorted(folder.glob("*.safetensors")))


def _bytes(change: Callable[[bytearray, Random], str]) -> Callable[[Path, Random], str]:
    """Damage to the bytes of one weight file."""

    def damage(folder: Path, rng: Random) -> str:
        file = _file(folder, rng)
        raw = bytearray(file.read_bytes())
        told = change(raw, rng)
        file.write_bytes(raw)
        return f"{file.name}: {told}"

    return damage


def _header(change: Callable[[dict[str, Any], Random], str]) -> Callable[[Path, Random], str]:
    """Damage to the JSON header of one weight file, the data left as it is."""

    def damage(raw: bytearray, rng: Random) -> str:
        size = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8 : 8 + size])
        told = change(header, rng)
        text = json.dumps(header).encode()
        raw[: 8 + size] = struct.pack("<Q", len(text)) + text
        return told

    return _bytes(damage)


def _tensors(change: Callable[[Tensors, Random], str]) -> Callable[[Path, Random], str]:
    """Damage to the tensors of one weight file, the index left as it is."""

    def damage(folder: Path, rng: Random) -> str:
        file = _file(folder, rng)
        tensors = load_file(file)
        told = change(tensors, rng)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"})
        return f"{file.name}: {told}"

    return damage


def _one(tensors: Tensors, rng: Random) -> str:
    return rng.choice(sorted(tensors))


def truncated(raw: bytearray, rng: Random) -> str:
    kept = rng.choice([0, 4, 8, rng.randrange(9, 400), rng.randrange(len(raw)), len(raw) - 1])
    del raw[kept:]
    return f"cut to {kept} bytes"


def flipped_header(raw: bytearray, rng: Random) -> str:
    size = struct.unpack("<Q", raw[:8])[0]
    places = [rng.randrange(8 + size) for _ in range(rng.choice([1, 1, 2, 5]))]
    for place in places:
        raw[place] ^= 1 << rng.randrange(8)
    return f"a bit of header bytes {places} flipped"


def flipped_data(raw: bytearray, rng: Random) -> str:
    size = struct.unpack("<Q", raw[:8])[0]
    places = [rng.randrange(8 + size, len(raw)) for _ in range(rng.choice([1, 4, 64]))]
    for place in places:
        raw[place] ^= 1 << rng.randrange(8)
    return f"a bit of data bytes {places[:4]} flipped"


def header_length(raw: bytearray, rng: Random) -> str:
    value = rng.choice([0, 1, 2**63, 2**64 - 1, 10**9, 7])
    raw[:8] = struct.pack("<Q", value)
    return f"a header of {value} bytes"


def appended(raw: bytearray, rng: Random) -> str:
    raw += bytes(rng.randrange(256) for _ in range(rng.choice([1, 100])))
    return "bytes appended"


def zeros(raw: bytearray, rng: Random) -> str:
    at = rng.choice([0, len(raw) // 2])
    raw[at:] = bytes(len(raw) - at)
    return f"zeros from byte {at}"


def _entry(header: dict[str, Any], rng: Random) -> tuple[str, dict[str, Any]]:
    name = rng.choice(sorted(name for name in header if name != "__metadata__"))
    return name, header[name]


def offsets(header: dict[str, Any], rng: Random) -> str:
    name, entry = _entry(header, rng)
    begin, end = entry["data_offsets"]
    entry["data_offsets"] = rng.choice(
        [[begin, end + 4], [-4, end], [10**12, 10**12 + end - begin], [end, begin], [0, end - begin], None, "0"]
    )
    return f"{name} at {entry['data_offsets']}"


def declared_shape(header: dict[str, Any], rng: Random) -> str:
    name, entry = _entry(header, rng)
    shape = entry["shape"]
    entry["shape"] = rng.choice(
        [[2**40, *shape[1:]], [0], [*shape, 1], shape[::-1], [-1], None, [2**63, 2**63], [str(n) for n in shape]]
    )
    return f"{name} declared {entry['shape']}"


def declared_type(header: dict[str, Any], rng: Random) -> str:
    name, entry = _entry(header, rng)
    entry["dtype"] = rng.choice(["F16", "I32", "F64", "F8_E4M3", "U8", "F3", None, "BOOL", "C64"])
    return f"{name} declared {entry['dtype']}"


def dropped(tensors: Tensors, rng: Random) -> str:
    name = _one(tensors, rng)
    del tensors[name]
    return f"{name} dropped"


def renamed(tensors: Tensors, rng: Random) -> str:
    name = _one(tensors, rng)
    new = rng.choice([name.replace("e", "ei"), f"x.{name}", name.upper(), name + ".weight", name.replace(".", "_")])
    tensors[new] = tensors.pop(name)
    return f"{name} is called {new}"


def prefixed(tensors: Tensors, rng: Random) -> str:
    strip = rng.random() < 0.5
    for name in sorted(tensors):
        tensors[name.removeprefix("model.").removeprefix("gpt_neox.") if strip else f"base.{name}"] = tensors.pop(name)
    return "names without their prefix" if strip else "every name behind `base.`"


def reshaped(tensors: Tensors, rng: Random) -> str:
    name = _one(tensors, rng)
    tensor = tensors[name]
    made = {
        "a row less": tensor[:-1],
        "flat": tensor.flatten()[None],
        "transposed": tensor.T if tensor.dim() == 2 else tensor[:, None],
        "a dimension more": tensor[None],
        "twice": torch.cat([tensor, tensor]),
        "no row": tensor[:0],
        "one number": tensor.flatten()[0],
    }
    how = rng.choice(sorted(made))
    tensors[name] = made[how].clone()
    return f"{name} {how}"


def recast(tensors: Tensors, rng: Random) -> str:
    name, kind = _one(tensors, rng), rng.choice([torch.float16, torch.bfloat16, torch.float64])
    tensors[name] = tensors[name].to(kind)
    return f"{name} as {kind}"


def all_recast(tensors: Tensors, rng: Random) -> str:
    kind = rng.choice([torch.float16, torch.bfloat16, torch.float64])
    tensors.update({name: tensor.to(kind) for name, tensor in tensors.items()})
    return f"all as {kind}"


def miscast(tensors: Tensors, rng: Random) -> str:
    name, kind = _one(tensors, rng), rng.choice([torch.int8, torch.uint8, torch.bool, torch.int64, torch.float8_e4m3fn])
    tensors[name] = tensors[name].to(kind)
    return f"{name} as {kind}"


def no_numbers(tensors: Tensors, rng: Random) -> str:
    name, value = _one(tensors, rng), rng.choice([float("nan"), float("inf"), -float("inf")])
    flat = tensors[name].flatten()
    flat[:: rng.choice([1, len(flat)])] = value
    tensors[name] = flat.view(tensors[name].shape)
    return f"{value} in {name}"


def huge_numbers(tensors: Tensors, rng: Random) -> str:
    name = _one(tensors, rng)
    tensors[name] = tensors[name] * rng.choice([1e6, 1e30, 0.0])
    return f"{name} scaled beyond sense"


def swapped(tensors: Tensors, rng: Random) -> str:
    name = _one(tensors, rng)
    alike = sorted(other for other in tensors if other != name and tensors[other].shape == tensors[name].shape)
    if not alike:
        return dropped(tensors, rng)
    other = rng.choice(alike)
    tensors[name], tensors[other] = tensors[other].clone(), tensors[name].clone()
    return f"{name} and {other} swapped"


def extra(tensors: Tensors, rng: Random) -> str:
    name = rng.choice(
        [
            "model.layers.2.mlp.up_proj.weight",
            "extra",
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "v_head.weight",
            "model.layers.0.self_attn.q_proj.bias",
            "model.layers.0.mlp.up_proj.weight_scale",
        ]
    )
    tensors[name] = torch.ones(rng.choice([1, 8, 64, 128]))
    return f"{name} beside the others"


def another(folder: Path, rng: Random) -> str:
    """The weights of another model under the name of these."""
    file = _file(folder, rng)
    tensors = load_file(file)
    save_file({name: torch.zeros(3, 3) for name in tensors}, file)
    return f"{file.name} of another model"


def removed(folder: Path, rng: Random) -> str:
    file = _file(folder, rng)
    file.unlink()
    return f"{file.name} removed"


def backup(folder: Path, rng: Random) -> str:
    """A copy with the same names of tensors and other values, which is not the model's."""
    file = _file(folder, rng)
    name = rng.choice(
        [
            "zz_backup.safetensors",
            "model-backup.safetensors",
            "a.safetensors",
            "model.fp16.safetensors",
            "adapter_old.safetensors",
            "optimizer.safetensors",
        ]
    )
    save_file({name: tensor * -1 for name, tensor in load_file(file).items()}, folder / name)
    return f"{name} beside the model"


def _index(change: Callable[[dict[str, Any], Random], str]) -> Callable[[Path, Random], str]:
    def damage(folder: Path, rng: Random) -> str:
        index = json.loads((folder / INDEX).read_text())
        told = change(index, rng)
        (folder / INDEX).write_text(json.dumps(index))
        return f"index: {told}"

    return damage


def wrong_shard(index: dict[str, Any], rng: Random) -> str:
    places = index["weight_map"]
    name = rng.choice(sorted(places))
    places[name] = rng.choice(sorted(set(places.values()) - {places[name]}))
    return f"{name} in {places[name]}"


def nowhere(index: dict[str, Any], rng: Random) -> str:
    name = rng.choice(sorted(index["weight_map"]))
    place = rng.choice(
        [
            "model-00009-of-00003.safetensors",
            "../llama/model.safetensors",
            "/etc/passwd",
            "",
            None,
            3,
            ".",
            "config.json",
        ]
    )
    index["weight_map"][name] = place
    return f"{name} in {place!r}"


def unlisted(index: dict[str, Any], rng: Random) -> str:
    name = rng.choice(sorted(index["weight_map"]))
    del index["weight_map"][name]
    return f"{name} not listed"


def no_map(index: dict[str, Any], rng: Random) -> str:
    index["weight_map"] = rng.choice([None, [], {}, "x", 3])
    if rng.random() < 0.3:
        del index["weight_map"]
    return f"weight_map {index.get('weight_map', 'missing')!r}"


def index_text(folder: Path, rng: Random) -> str:
    text = rng.choice([b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"3", b"<html>404</html>", b'"x"'])
    (folder / INDEX).write_bytes(text)
    return f"index is {text!r}"


def index_removed(folder: Path, rng: Random) -> str:
    (folder / INDEX).unlink()
    return "index removed"


def two_sets(folder: Path, rng: Random) -> str:
    """One file beside the shards, with other values: transformers reads the file."""
    tensors = {}
    for shard in sorted(folder.glob("model-0*.safetensors")):
        tensors |= load_file(shard)
    save_file({name: tensor * 0.5 for name, tensor in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    return "model.safetensors beside the shards"


KINDS = (
    Kind("weights truncated", _bytes(truncated), REFUSED),
    Kind("bits of the header", _bytes(flipped_header)),
    Kind("bits of the data", _bytes(flipped_data)),
    Kind("length of the header", _bytes(header_length), REFUSED),
    Kind("bytes appended", _bytes(appended)),
    Kind("zeros in place of bytes", _bytes(zeros)),
    Kind("offsets", _header(offsets), REFUSED),
    Kind("declared shape", _header(declared_shape)),
    Kind("declared type", _header(declared_type)),
    Kind("tensor dropped", _tensors(dropped), REFUSED),
    Kind("tensor renamed", _tensors(renamed), REFUSED),
    Kind("prefix of names", _tensors(prefixed)),
    Kind("tensor reshaped", _tensors(reshaped)),
    Kind("tensor of another float", _tensors(recast), RIGHT),
    Kind("all of another float", _tensors(all_recast), RIGHT),
    Kind("tensor of integers", _tensors(miscast)),
    Kind("NaN or infinity", _tensors(no_numbers)),
    Kind("numbers beyond sense", _tensors(huge_numbers)),
    Kind("tensors swapped", _tensors(swapped)),
    Kind("tensor too many", _tensors(extra)),
    Kind("weights of another model", another, REFUSED),
    Kind("weight file removed", removed, REFUSED),
    Kind("backup beside the model", backup, RIGHT),
    Kind("index: wrong shard", _index(wrong_shard), EITHER, SHARDED),
    Kind("index: no such shard", _index(nowhere), EITHER, SHARDED),
    Kind("index: tensor not listed", _index(unlisted), EITHER, SHARDED),
    Kind("index: no map", _index(no_map), EITHER, SHARDED),
    Kind("index: no JSON", index_text, EITHER, SHARDED),
    Kind("index removed", index_removed, EITHER, SHARDED),
    Kind("file beside shards", two_sets, EITHER, SHARDED),
)
