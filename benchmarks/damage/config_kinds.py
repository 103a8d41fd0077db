"""Damage to config.json: every field of any type and size, fields that contradict each other, and text that is no object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.damage.kind import ALL, EITHER, REFUSED, Kind

NONSENSE: Final = (
    "abc",
    "64",
    None,
    -1,
    0,
    1,
    10**9,
    10**30,
    2.5,
    [],
    [4],
    {},
    True,
    False,
    float("nan"),
    1e-300,
    "",
    -2.0,
)
SIZES: Final = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
OTHERS: Final = (
    "rms_norm_eps",
    "layer_norm_eps",
    "rope_theta",
    "rope_scaling",
    "hidden_act",
    "hidden_activation",
    "tie_word_embeddings",
    "sliding_window",
    "use_sliding_window",
    "layer_types",
    "eos_token_id",
    "bos_token_id",
    "pad_token_id",
    "dtype",
    "torch_dtype",
    "initializer_range",
    "attention_bias",
    "mlp_bias",
    "attention_dropout",
    "architectures",
    "use_cache",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "query_pre_attn_scalar",
    "transformers_version",
    "is_encoder_decoder",
    "tokenizer_class",
    "rotary_pct",
    "use_parallel_residual",
    "pretraining_tp",
    "partial_rotary_factor",
    "text_config",
    "chunk_size_feed_forward",
)
MODEL_TYPES: Final = (
    "bert",
    "t5",
    "gpt2",
    "whisper",
    "clip",
    "mamba",
    "mistral",
    "qwen2",
    "nobody",
    None,
    "",
    3,
    ["llama"],
    "gemma",
    "phi3",
    "llava",
    "bart",
)
TEXTS: Final = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"llama"',
    b"\xff\xfe{}",
    b"{}",
    b"<!DOCTYPE html><title>404</title>",
    b'{"a": 1} {"b": 2}',
    b"[" * 100000,
    b'{"model_type": "llama"}',
    b"\x00" * 64,
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
)
ROPES: Final = (
    {"rope_type": "linear", "factor": 4.0},
    {"type": "linear", "factor": 4.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    {"rope_type": "dynamic", "factor": 2.0},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    {"rope_type": "llama3"},
    {"rope_type": "nobody"},
    {"rope_type": None},
    {"rope_type": "linear", "factor": "four"},
    {"rope_type": "linear", "factor": 0},
    {"rope_type": "yarn", "factor": -1},
    {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
    {
        "rope_type": "longrope",
        "short_factor": [1.0] * 8,
        "long_factor": [2.0] * 8,
        "original_max_position_embeddings": 16,
    },
    {"rope_type": "default", "rope_theta": 0},
    {"rope_type": "default", "rope_theta": -5.0},
    {"rope_type": "default", "rope_theta": 5e5},
    {"rope_type": "default", "rope_theta": "x"},
    {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 2},
    {"full_attention": {"rope_type": "default", "rope_theta": 1e4}},
    [],
    "linear",
    None,
    3,
)
QUANTISED: Final = (
    {"quant_method": "fp8", "weight_block_size": [16, 16]},
    {"quant_method": "bitsandbytes", "load_in_8bit": True},
    {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    {"quant_method": "gptq", "bits": 4, "group_size": 32},
    {"quant_method": "awq", "bits": 4, "group_size": 32},
    {"quant_method": "compressed-tensors", "format": "float-quantized"},
    {"quant_method": "exl2", "bits": 4.0},
    {"quant_method": "nobody"},
    {"group_size": 64, "bits": 4},
    {},
    None,
    [],
    "fp8",
    3,
)


def _config(change: Callable[[dict[str, Any], Random], str]) -> Callable[[Path, Random], str]:
    def damage(folder: Path, rng: Random) -> str:
        config = json.loads((folder / "config.json").read_text())
        told = change(config, rng)
        (folder / "config.json").write_text(json.dumps(config))
        return f"config: {told}"

    return damage


def _field(fields: tuple[str, ...]) -> Callable[[dict[str, Any], Random], str]:
    def change(config: dict[str, Any], rng: Random) -> str:
        there = [name for name in fields if name in config]
        name = rng.choice(there if there and rng.random() < 0.8 else list(fields))
        config[name] = rng.choice(NONSENSE)
        return f"{name} = {config[name]!r}"

    return change


def removed(config: dict[str, Any], rng: Random) -> str:
    name = rng.choice(sorted(config))
    del config[name]
    return f"no {name}"


def beside(config: dict[str, Any], rng: Random) -> str:
    """A size that is not the weights', but nearly."""
    name = rng.choice([name for name in SIZES if isinstance(config.get(name), int)])
    config[name] = rng.choice([config[name] + 1, config[name] - 1, config[name] * 2, config[name] // 2])
    return f"{name} = {config[name]}"


def two_contradict(config: dict[str, Any], rng: Random) -> str:
    return f"{beside(config, rng)}, {beside(config, rng)}"


def other_numbers(config: dict[str, Any], rng: Random) -> str:
    """Other values of the right kind: another model, which the reference gives too."""
    name, value = rng.choice(
        [
            ("rms_norm_eps", 0.05),
            ("layer_norm_eps", 0.05),
            ("hidden_act", "gelu"),
            ("hidden_act", "relu"),
            ("max_position_embeddings", 40),
            ("eos_token_id", [1, 2, 3]),
            ("tie_word_embeddings", not config.get("tie_word_embeddings")),
            ("sliding_window", 4),
            ("use_sliding_window", True),
            ("attention_bias", True),
            ("mlp_bias", True),
            ("num_hidden_layers", 1),
            ("use_parallel_residual", False),
            ("layer_types", ["sliding_attention", "full_attention"]),
            ("final_logit_softcapping", 1.0),
            ("query_pre_attn_scalar", 64),
            ("logit_scale", 0.5),
            ("attention_multiplier", 0.5),
            ("embedding_multiplier", 3.0),
        ]
    )
    config[name] = value
    return f"{name} = {value!r}"


def rope(config: dict[str, Any], rng: Random) -> str:
    name = rng.choice(["rope_parameters", "rope_parameters", "rope_scaling"])
    value = rng.choice(ROPES)
    config[name] = (
        {"rope_theta": 10000.0, **value} if isinstance(value, dict) and "full_attention" not in value else value
    )
    return f"{name} = {config[name]!r}"


def quantised(config: dict[str, Any], rng: Random) -> str:
    name = rng.choice(["quantization_config", "quantization_config", "quantization"])
    config[name] = rng.choice(QUANTISED)
    return f"{name} = {config[name]!r}"


def model_type(config: dict[str, Any], rng: Random) -> str:
    config["model_type"] = rng.choice(MODEL_TYPES)
    if rng.random() < 0.5:
        config["architectures"] = rng.choice(
            [
                ["BertForMaskedLM"],
                ["NobodyForCausalLM"],
                [],
                None,
                ["LlamaForSequenceClassification"],
                "LlamaForCausalLM",
                [3],
            ]
        )
    return f"model_type = {config['model_type']!r}, architectures = {config.get('architectures')!r}"


def remote_code(folder: Path, rng: Random) -> str:
    """Code of its own: it never runs (see `canary` in lying_around.py)."""
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    if rng.random() < 0.5:
        config["model_type"] = "of_its_own"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w').close()\n")
    return f"auto_map, model_type {config['model_type']}"


def text(folder: Path, rng: Random) -> str:
    raw = rng.choice(TEXTS)
    (folder / "config.json").write_bytes(raw)
    return f"config is {raw[:60]!r}"


def cut(folder: Path, rng: Random) -> str:
    raw = (folder / "config.json").read_bytes()
    kept = rng.randrange(len(raw) - 2)
    (folder / "config.json").write_bytes(raw[:kept])
    return f"config cut to {kept} bytes"


def marked(folder: Path, rng: Random) -> str:
    raw = (folder / "config.json").read_text()
    encoding = rng.choice(["utf-8-sig", "utf-16", "latin-1"])
    (folder / "config.json").write_bytes((raw.replace("{", '{"note": "\xe9",', 1)).encode(encoding))
    return f"config in {encoding}"


def twice(folder: Path, rng: Random) -> str:
    raw = (folder / "config.json").read_text()
    (folder / "config.json").write_text(raw.replace("{", '{"num_hidden_layers": 1, "hidden_size": "x",', 1))
    return "config with keys twice, the true ones last"


def gone(folder: Path, rng: Random) -> str:
    (folder / "config.json").unlink()
    return "config removed"


KINDS = (
    Kind("config: size of any value", _config(_field(SIZES))),
    Kind("config: size is null, text …", _config(_field(SIZES[:4]))),
    Kind("config: heads of any value", _config(_field(SIZES[3:6]))),
    Kind("config: other field of any value", _config(_field(OTHERS))),
    Kind("config: norm, rope, activation", _config(_field(OTHERS[:6]))),
    Kind("config: special ids", _config(_field(OTHERS[10:13]))),
    Kind("config: field removed", _config(removed)),
    Kind("config: sizes beside the weights", _config(beside)),
    Kind("config: two contradict", _config(two_contradict)),
    Kind("config: another model's numbers", _config(other_numbers)),
    Kind("config: rope", _config(rope)),
    Kind("config: quantised", _config(quantised)),
    Kind("config: model type", _config(model_type)),
    Kind("config: code of its own", remote_code),
    Kind("config: no object", text, REFUSED),
    Kind("config: cut", cut, REFUSED),
    Kind("config: encoding", marked),
    Kind("config: keys twice", twice, EITHER, ALL),
    Kind("config: removed", gone, REFUSED),
)
