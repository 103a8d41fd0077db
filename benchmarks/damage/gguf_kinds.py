"""Damage to a GGUF file: its bytes, its metadata by type and value, its tensors, and its tokenizer."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.damage import words_kinds
from benchmarks.damage.bases import FILES, gguf_file
from benchmarks.damage.gguf_file import ARRAY, BOOL, F32, I32, STRING, U32, U64, Entry, GgufFile, Tensor
from benchmarks.damage.kind import EITHER, REFUSED, RIGHT, Kind

NUMBERS: Final = (0, 1, 3, 7, 2**31, 2**32 - 1, 10**6)
SPECIAL: Final = (
    "bos_token_id",
    "eos_token_id",
    "unknown_token_id",
    "padding_token_id",
    "eot_token_id",
    "eom_token_id",
)


def _raw(change: Callable[[bytearray, Random], str]) -> Callable[[Path, Random], str]:
    def damage(path: Path, rng: Random) -> str:
        raw = bytearray(path.read_bytes())
        told = change(raw, rng)
        path.write_bytes(raw)
        return told

    return damage


def _file(change: Callable[[GgufFile, Random], str]) -> Callable[[Path, Random], str]:
    def damage(path: Path, rng: Random) -> str:
        file = gguf_file(path.name)
        told = change(file, rng)
        file.write(path)
        return told

    return damage


def truncated(raw: bytearray, rng: Random) -> str:
    kept = rng.choice([0, 3, 4, 23, rng.randrange(24, 4000), rng.randrange(len(raw)), len(raw) - 40])
    del raw[kept:]
    return f"cut to {kept} bytes"


def flipped_head(raw: bytearray, rng: Random) -> str:
    places = [rng.randrange(rng.choice([24, 600, 14000])) for _ in range(rng.choice([1, 1, 3]))]
    for place in places:
        raw[place] ^= 1 << rng.randrange(8)
    return f"a bit of bytes {places} flipped"


def flipped_data(raw: bytearray, rng: Random) -> str:
    places = [rng.randrange(len(raw) // 2, len(raw)) for _ in range(rng.choice([1, 8, 200]))]
    for place in places:
        raw[place] ^= 1 << rng.randrange(8)
    return f"a bit of bytes {places[:4]} flipped"


def opening(raw: bytearray, rng: Random) -> str:
    begin = rng.choice(
        [
            b"GGML",
            b"lmgg",
            b"tjgg",
            b"GGUF\x01\0\0\0",
            b"GGUF\x63\0\0\0",
            b"GGUF\0\0\0\x03",
            b"\0" * 8,
            b"PK\x03\x04",
            b"<!DOC",
            b"GGUF\0\0\0\0",
        ]
    )
    raw[: len(begin)] = begin
    return f"begins with {begin!r}"


def appended(raw: bytearray, rng: Random) -> str:
    raw += bytes(rng.choice([1, 31, 64, 5000]))
    return "bytes appended"


def counts(file: GgufFile, rng: Random) -> str:
    value = rng.choice([0, 1, 2**32, 2**63, 10**9, len(file.tensors) - 1, len(file.entries) + 1])
    name = rng.choice(["tensor_count", "entry_count"])
    setattr(file, name, value)
    return f"{name} {value}"


def _number(file: GgufFile, rng: Random) -> Entry:
    return rng.choice([entry for entry in file.entries if entry.kind in (U32, F32) and "ggml" not in str(entry.key)])


def entry_value(file: GgufFile, rng: Random) -> str:
    entry = _number(file, rng)
    if entry.kind == F32:
        entry.value = rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e30, 0.5, 500.0])
    else:
        entry.value = rng.choice([*NUMBERS, entry.value + 1, max(0, entry.value - 1), entry.value * 2])
    return f"{entry.key} = {entry.value}"


def entry_kind(file: GgufFile, rng: Random) -> str:
    """The same value as another type: what is told of a size stays true."""
    entry = rng.choice(file.entries)
    value = entry.value
    if entry.kind in (U32, F32) and rng.random() < 0.5:
        entry.kind = rng.choice([U64, I32, 2, 11, 12, F32])
        entry.value = float(value) if entry.kind in (F32, 12) else int(value) % 60000
        return f"{entry.key} as type {entry.kind}"
    entry.kind, entry.value = rng.choice(
        [
            (STRING, "x"),
            (ARRAY, (U32, [1, 2])),
            (ARRAY, (STRING, [])),
            (BOOL, True),
            (99, 0),
            (F32, 1.5),
            (U32, 7),
            (ARRAY, (ARRAY, [(U32, [1])])),
            (ARRAY, (77, [])),
        ]
    )
    return f"{entry.key} = {entry.value!r} of type {entry.kind}"


def entry_dropped(file: GgufFile, rng: Random) -> str:
    entry = rng.choice(file.entries)
    file.entries.remove(entry)
    return f"no {entry.key}"


def entry_twice(file: GgufFile, rng: Random) -> str:
    entry = rng.choice(file.entries)
    value = {U32: 3, F32: 0.25, BOOL: True, STRING: "x"}.get(entry.kind, entry.value)
    file.entries.insert(rng.choice([0, len(file.entries)]), Entry(entry.key, entry.kind, value))
    return f"{entry.key} twice"


def key_bytes(file: GgufFile, rng: Random) -> str:
    entry = rng.choice(file.entries)
    key = str(entry.key)
    entry.key = rng.choice([b"\xff\xfe" + key.encode(), key.upper(), "", "k" * 70000, key + "\0"])
    return f"{key} is called {entry.key[:40]!r}"


def text_bytes(file: GgufFile, rng: Random) -> str:
    entry = rng.choice([entry for entry in file.entries if entry.kind == STRING])
    entry.value = rng.choice([b"\xff\xfe", b"", b"\0", b"x" * 10**6, "é".encode("latin-1")])
    return f"{entry.key} = {entry.value[:20]!r}"


def architecture(file: GgufFile, rng: Random) -> str:
    """Under another name, with or without the keys of that name."""
    name = rng.choice(
        [
            "bert",
            "nobody",
            "gpt2",
            "qwen2",
            "llama",
            "qwen3",
            "phi3",
            "gemma2",
            "mamba",
            "clip",
            "t5",
            "mistral",
            "",
            "llama4",
        ]
    )
    old = file.entry("general.architecture").value
    file.entry("general.architecture").value = name
    if rng.random() < 0.7:
        for entry in file.entries:
            entry.key = (
                str(entry.key).replace(f"{old}.", f"{name}.", 1) if str(entry.key).startswith(f"{old}.") else entry.key
            )
    return f"{old} is called {name!r}"


def _one(file: GgufFile, rng: Random) -> Tensor:
    return rng.choice(file.tensors)


def tensor_dropped(file: GgufFile, rng: Random) -> str:
    tensor = _one(file, rng)
    file.tensors.remove(tensor)
    return f"no {tensor.name!r}"


def tensor_renamed(file: GgufFile, rng: Random) -> str:
    tensor = _one(file, rng)
    name = str(tensor.name)
    other = rng.choice(file.tensors).name
    tensor.name = rng.choice(
        [name + "x", name.upper(), b"\xff" + name.encode(), "n" * 80, "", other, name.replace("blk.1", "blk.7")]
    )
    return f"{name} is called {tensor.name[:40]!r}"


def tensor_shape(file: GgufFile, rng: Random) -> str:
    tensor = _one(file, rng)
    shape = tensor.shape
    tensor.shape = rng.choice(
        [
            shape[::-1],
            [*shape, 1],
            [*shape, 2],
            [shape[0], 0],
            [0],
            [2**62, 4],
            [-1, 1],
            [1] * 9,
            [],
            [shape[0] // 2, *shape[1:]],
            [shape[0], 2**40],
            [*shape[:-1], shape[-1] - 1],
        ]
    )
    return f"{tensor.name!r} declared {tensor.shape}"


def tensor_kind(file: GgufFile, rng: Random) -> str:
    tensor = _one(file, rng)
    tensor.kind = rng.choice([0, 1, 2, 3, 6, 8, 10, 12, 14, 24, 26, 28, 30, 4, 5, 31, 36, 99, 2**31])
    return f"{tensor.name!r} declared of type {tensor.kind}"


def tensor_offset(file: GgufFile, rng: Random) -> str:
    tensor = rng.choice(file.tensors[1:])
    tensor.offset = rng.choice([0, 1, 33, 10**12, 2**64 - 32, 2**63, 64])
    return f"{tensor.name!r} at {tensor.offset}"


def swapped(file: GgufFile, rng: Random) -> str:
    one = _one(file, rng)
    alike = [other for other in file.tensors if other is not one and (other.shape, other.kind) == (one.shape, one.kind)]
    other = rng.choice(alike or [one])
    one.data, other.data = other.data, one.data
    return f"{one.name!r} and {other.name!r} swapped"


def no_numbers(file: GgufFile, rng: Random) -> str:
    tensor = _one(file, rng)
    half, whole = rng.choice([(b"\x00\x7e", float("nan")), (b"\x00\x7c", float("inf"))])
    tensor.data = (struct.pack("<f", whole) if tensor.kind == 0 else half) + tensor.data[4 if tensor.kind == 0 else 2 :]
    return f"{whole} in {tensor.name!r}"


def zeros(file: GgufFile, rng: Random) -> str:
    tensor = _one(file, rng)
    tensor.data = bytes(len(tensor.data))
    return f"{tensor.name!r} is all zeros"


def extra(file: GgufFile, rng: Random) -> str:
    name, count = rng.choice(
        [
            ("extra", 4),
            ("rope_freqs.weight", 8),
            ("blk.2.attn_norm.weight", 64),
            ("blk.0.attn_q.bias", 64),
            ("blk.0.attn_q_norm.weight", 16),
            ("blk.0.attn_output.bias", 64),
            ("output.bias", 420),
            ("blk.0.ffn_gate_inp.weight", 64),
            ("blk.0.post_attention_norm.weight", 64),
            ("rope_factors_long.weight", 8),
            ("blk.0.attn_q.scale", 1),
        ]
    )
    file.tensors.append(Tensor(name, [count], 0, struct.pack(f"<{count}f", *[4.0] * count)))
    return f"{name} beside the others"


def alignment(file: GgufFile, rng: Random) -> str:
    value = rng.choice([0, 1, 3, 8, 16, 64, 128, 2**31, 2**32 - 1])
    file.add("general.alignment", U32, value)
    return f"general.alignment = {value}"


def splits(file: GgufFile, rng: Random) -> str:
    count, number = rng.choice([(2, 0), (2, 1), (1, 0), (0, 0), (65535, 3), (3, 0)])
    file.add("split.count", 2, count)
    file.add("split.no", 2, number)
    file.add("split.tensors.count", I32, rng.choice([len(file.tensors), 40, 0]))
    return f"split {number} of {count}"


def rope(file: GgufFile, rng: Random) -> str:
    name = file.entry("general.architecture").value
    for key, kind, value in rng.choice(
        [
            [("rope.scaling.type", STRING, "linear"), ("rope.scaling.factor", F32, 4.0)],
            [
                ("rope.scaling.type", STRING, "yarn"),
                ("rope.scaling.factor", F32, 4.0),
                ("rope.scaling.original_context_length", U32, 64),
            ],
            [("rope.scaling.type", STRING, "none")],
            [("rope.scaling.type", STRING, "longrope")],
            [("rope.scaling.type", STRING, "nobody"), ("rope.scaling.factor", F32, 4.0)],
            [("rope.scale_linear", F32, 2.0)],
            [("rope.scaling.factor", F32, 0.0)],
            [("rope.scaling.factor", F32, float("nan")), ("rope.scaling.type", STRING, "linear")],
            [("rope.dimension_count", U32, 8)],
            [("rope.freq_base", F32, 500000.0)],
            [("attention.sliding_window", U32, 4)],
            [("attention.key_length", U32, 32), ("attention.value_length", U32, 32)],
            [("attention.scale", F32, 3.0)],
            [("logit_scale", F32, 0.1)],
            [("expert_count", U32, 4), ("expert_used_count", U32, 2)],
            [("attention.causal", BOOL, False)],
            [("attention.head_count_kv", ARRAY, (U32, [2, 2]))],
            [("attention.head_count_kv", ARRAY, (U32, [2, 4]))],
            [("attention.clamp_kqv", F32, 1.0)],
            [("final_logit_softcapping", F32, 1.0)],
            [("tensor_data_layout", STRING, "Meta AI original pth")],
        ]
    ):
        file.add(f"{name}.{key}", kind, value)
        told = f"{key} = {value}"
    return told


def special(file: GgufFile, rng: Random) -> str:
    name, value = rng.choice(SPECIAL), rng.choice([0, 5, 419, 420, 10**6, 2**32 - 1])
    file.add(f"tokenizer.ggml.{name}", U32, value)
    return f"{name} = {value}"


def pieces(file: GgufFile, rng: Random) -> str:
    """The vocabulary of another length, or with pieces that no vocabulary has."""
    entry = file.entry("ggml.tokens")
    tokens = list(entry.value[1])
    how = rng.choice(["short", "long", "none", "one", "bytes", "alike", "empty piece"])
    tokens = {
        "short": tokens[:-20],
        "long": [*tokens, *(f"<more{n}>" for n in range(20))],
        "none": [],
        "one": tokens[:1],
        "bytes": [b"\xff\xfe", *tokens[1:]],
        "alike": [*tokens[:-3], "same", "same", "same"],
        "empty piece": [*tokens[:-1], ""],
    }[how]
    entry.value = (STRING, tokens)
    return f"pieces: {how}"


def piece_lists(file: GgufFile, rng: Random) -> str:
    there = [entry for entry in file.entries if str(entry.key).rsplit(".", 1)[-1] in ("token_type", "scores", "merges")]
    entry = rng.choice(there)
    kind, items = entry.value
    how = rng.choice(["short", "none", "odd", "type"])
    odd = {STRING: "a b c", F32: float("nan"), I32: 77}[kind]
    entry.value = {
        "short": (kind, items[:10]),
        "none": (kind, []),
        "odd": (kind, [odd, *items[1:]]),
        "type": (U32, [1] * len(items)),
    }[how]
    return f"{entry.key}: {how}"


def tokenizer_model(file: GgufFile, rng: Random) -> str:
    name = rng.choice(["model", "pre"])
    value = rng.choice(
        ["llama", "gpt2", "bert", "t5", "rwkv", "none", "no_vocab", "nobody", ""]
        if name == "model"
        else ["llama-bpe", "qwen2", "default", "nobody", "smollm", "gpt-4o", ""]
    )
    file.add(f"tokenizer.ggml.{name}", STRING, value)
    return f"tokenizer.ggml.{name} = {value!r}"


def template(file: GgufFile, rng: Random) -> str:
    text = rng.choice(words_kinds.TEMPLATES).encode("utf-8", "surrogatepass")
    file.add("tokenizer.chat_template", STRING, text)
    return f"template {text!r}"


def flags(file: GgufFile, rng: Random) -> str:
    name, value = (
        rng.choice(["add_bos_token", "add_eos_token", "add_space_prefix", "remove_extra_whitespaces"]),
        rng.random() < 0.5,
    )
    file.add(f"tokenizer.ggml.{name}", BOOL, value)
    return f"{name} = {value}"


def version(file: GgufFile, rng: Random) -> str:
    file.version = rng.choice([0, 1, 2, 4, 99, 2**31])
    return f"version {file.version}"


def other_order(file: GgufFile, rng: Random) -> str:
    file.order = ">"
    return "numbers in the other byte order"


def renamed(path: Path, rng: Random) -> str:
    name = rng.choice(["model-00001-of-00002.gguf", "Model.GGUF", "a b é.gguf", "x" * 200 + ".gguf", "-.gguf"])
    (path.parent / "elsewhere").mkdir()
    path.rename(path.parent / "elsewhere" / name)
    path.symlink_to(path.parent / "elsewhere" / name)
    return f"a link to {name[:30]}"


KINDS = tuple(
    Kind(f"gguf: {name}", damage, may, FILES)
    for name, damage, may in (
        ("truncated", _raw(truncated), REFUSED),
        ("bits of the head", _raw(flipped_head), EITHER),
        ("bits of the data", _raw(flipped_data), EITHER),
        ("first bytes", _raw(opening), EITHER),
        ("bytes appended", _raw(appended), EITHER),
        ("counts", _file(counts), EITHER),
        ("a value", _file(entry_value), EITHER),
        ("another value", _file(entry_value), EITHER),
        ("a type", _file(entry_kind), EITHER),
        ("key dropped", _file(entry_dropped), EITHER),
        ("key twice", _file(entry_twice), EITHER),
        ("bytes of a key", _file(key_bytes), EITHER),
        ("bytes of a text", _file(text_bytes), EITHER),
        ("architecture", _file(architecture), EITHER),
        ("tensor dropped", _file(tensor_dropped), EITHER),
        ("tensor renamed", _file(tensor_renamed), EITHER),
        ("declared shape", _file(tensor_shape), EITHER),
        ("declared type", _file(tensor_kind), EITHER),
        ("offset", _file(tensor_offset), EITHER),
        ("tensors swapped", _file(swapped), EITHER),
        ("NaN or infinity", _file(no_numbers), EITHER),
        ("zeros", _file(zeros), EITHER),
        ("tensor too many", _file(extra), EITHER),
        ("alignment", _file(alignment), EITHER),
        ("splits", _file(splits), EITHER),
        ("rope, windows, scales", _file(rope), EITHER),
        ("special ids", _file(special), EITHER),
        ("pieces", _file(pieces), EITHER),
        ("lists of pieces", _file(piece_lists), EITHER),
        ("kind of tokenizer", _file(tokenizer_model), EITHER),
        ("template", _file(template), EITHER),
        ("flags of the tokenizer", _file(flags), EITHER),
        ("version", _file(version), EITHER),
        ("byte order", _file(other_order), EITHER),
        ("name of the file", renamed, RIGHT),
    )
)
