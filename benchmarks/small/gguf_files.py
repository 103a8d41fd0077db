"""A small random model of a family as a GGUF file, as llama.cpp's own conversion writes it, in any of ggml's formats."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, TokenType

from benchmarks.small.blocks import encoded
from benchmarks.small.folders import network
from benchmarks.small.tokens import CONTROL, TEMPLATE, tokenizer

ARCHITECTURES: Mapping[str, str] = {  # of model types
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen2_moe": "qwen2moe",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "gpt2": "gpt2",
    "granite": "granite",
    "mamba": "mamba",
    "nemotron": "nemotron",
    "olmo2": "olmo2",
    "phi3": "phi3",
    "smollm3": "smollm3",
    "stablelm": "stablelm",
    "starcoder2": "starcoder2",
}
WIDE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 256,
    "head_dim": 64,
    "num_hidden_layers": 2,
}  # for blocks of 256
ONE_ADDED = ("gemma", "gemma2", "gemma3_text", "nemotron")  # their norms multiply by one more than the weight
TURNED = (
    "llama",
    "mistral",
    "mixtral",
    "granite",
    "smollm3",
)  # their queries' and keys' rows are stored in RoPE's own order


def gguf_file(
    path: Path,
    family: str = "llama",
    kind: str = "F32",
    seed: int = 0,
    template: str | None = TEMPLATE,
    metadata: Mapping[str, Any] | None = None,
    plain: bool = False,
    **changes: Any,
) -> Path:
    """Writes a model of this family to `path`, its matrices in the format `kind`; `changes` go into its configuration,
    `metadata` after all else into the file's own, where None leaves a key out. `plain` writes the same numbers as F32.
    """
    model = network(family, seed, **{**widened(kind), **changes})
    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    writer = GGUFWriter(path, architecture)
    values = {**_about(config, architecture), **_vocabulary(template), **(metadata or {})}
    for key, value in values.items():
        if value is not None:
            _written(writer, key, value)
    for _, name, data, raw in _encoded(model, architecture, kind):
        if plain:
            data, raw = gguf.dequantize(data, raw), GGMLQuantizationType.F32
        writer.add_tensor(name, data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def held(family: str, kind: str) -> Any:
    """The network with the numbers that such a file holds."""
    model = network(family, **widened(kind))
    config, tensors = model.config, model.state_dict()
    for name, _, data, raw in _encoded(model, ARCHITECTURES[config.model_type], kind):
        if raw != GGMLQuantizationType.F32:
            array = gguf.dequantize(data, raw)
            assert array.shape == tensors[name].shape, "only what is laid out as transformers has it can be put back"
            if config.model_type in TURNED and "_proj" in name and ("q_" in name or "k_" in name):
                heads = config.num_attention_heads if "q_" in name else config.num_key_value_heads
                array = array.reshape(heads, -1, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            tensors[name].copy_(torch.from_numpy(array.copy()))
    return model


def _encoded(model: Any, architecture: str, kind: str) -> Iterator[tuple[str, str, np.ndarray, GGMLQuantizationType]]:
    """Every tensor by its transformers name and its name in the file, as it is stored."""
    for number, (source, name, tensor) in enumerate(_tensors(model, architecture)):
        plain = tensor.ndim < 2 or any(part in name for part in ("norm", "ssm_", "_inp", "rope_"))
        raw = "F32" if plain else kind
        yield source, name, encoded(np.ascontiguousarray(tensor), raw, seed=number), GGMLQuantizationType[raw]


def widened(kind: str) -> dict[str, Any]:
    """What a configuration needs so that every matrix is made of whole blocks of this format."""
    return WIDE if GGML_QUANT_SIZES[GGMLQuantizationType[kind]][0] == 256 else {}


def _written(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _about(config: Any, architecture: str) -> dict[str, Any]:
    """The configuration under the keys of the architecture."""
    get = config.to_dict().get
    rope = get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    heads = int(getattr(config, "num_attention_heads", 0))
    size = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else None)
    about = {
        "context_length": getattr(config, "max_position_embeddings", 1024),
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": get("intermediate_size") or get("n_inner") or (4 * config.hidden_size if heads else 0),
        "attention.head_count": heads,
        "attention.head_count_kv": getattr(config, "num_key_value_heads", None) or heads,
        "attention.key_length": size,
        "attention.value_length": size,
        "attention.layer_norm_rms_epsilon": get("rms_norm_eps")
        or (None if heads else float(config.layer_norm_epsilon)),
        "attention.layer_norm_epsilon": _first(get, "layer_norm_eps", "norm_eps", "norm_epsilon", "layer_norm_epsilon"),
        "attention.sliding_window": get("sliding_window") if architecture in ("gemma2", "gemma3", "phi3") else None,
        "rope.freq_base": rope.get("rope_theta"),
        "rope.dimension_count": int(size * rope.get("partial_rotary_factor", 1.0)) if rope else None,
        "attn_logit_softcapping": get("attn_logit_softcapping"),
        "final_logit_softcapping": get("final_logit_softcapping"),
        "expert_count": _first(get, "num_local_experts", "num_experts"),
        "expert_used_count": get("num_experts_per_tok"),
        "expert_feed_forward_length": get("moe_intermediate_size"),
        "expert_shared_feed_forward_length": get("shared_expert_intermediate_size"),
        "embedding_scale": get("embedding_multiplier"),
        "residual_scale": get("residual_multiplier"),
        "attention.scale": get("attention_multiplier"),
        "logit_scale": get("logits_scaling"),
        "use_parallel_residual": get("use_parallel_residual"),
        "vocab_size": config.vocab_size if architecture in ("llama", "granite") else None,
        **_scaling(rope, config),
        **(_recurrent(config) if architecture == "mamba" else {}),
    }
    return {f"{architecture}.{key}": value for key, value in about.items()}


def _first(get: Any, *names: str) -> Any:
    return next((get(name) for name in names if get(name) is not None), None)


def _scaling(rope: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """What the file says of a scaled rotary embedding; the scaling of Llama 3 is a tensor instead."""
    if rope.get("rope_type") == "longrope":
        original = int(rope["original_max_position_embeddings"])
        scale = (1 + math.log(config.max_position_embeddings / original) / math.log(original)) ** 0.5
        return {"rope.scaling.original_context_length": original, "rope.scaling.attn_factor": scale}
    if rope.get("rope_type", "default") not in ("linear", "yarn"):
        return {}
    trained = int(rope["original_max_position_embeddings"]) if rope["rope_type"] == "yarn" else None
    return {
        "rope.scaling.type": rope["rope_type"],
        "rope.scaling.factor": float(rope["factor"]),
        "rope.scaling.original_context_length": trained,
    }


def _recurrent(config: Any) -> dict[str, Any]:
    return {
        "ssm.conv_kernel": config.conv_kernel,
        "ssm.inner_size": config.intermediate_size,
        "ssm.state_size": config.state_size,
        "ssm.time_step_rank": int(config.time_step_rank),
        "ssm.dt_b_c_rms": False,
        "feed_forward_length": 0,
    }


def _vocabulary(template: str | None) -> dict[str, Any]:
    """The tokenizer as the file keeps it: byte-level BPE of the kind that llama.cpp calls gpt2."""
    spelled = json.loads(tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(spelled["vocab"], key=spelled["vocab"].get)
    kinds = [int(TokenType.CONTROL if token in CONTROL else TokenType.NORMAL) for token in tokens]
    return {
        "general.name": "small",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in spelled["merges"]],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": template,
    }


def _tensors(model: Any, architecture: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Every tensor by its transformers name and its name in the file, laid out as llama.cpp reads it."""
    config, kind = model.config, model.config.model_type
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        array = tensor.numpy()
        for part, piece in _laid_out(name, array, config, kind):
            stem, dot, suffix = part.rpartition(".") if part.endswith((".weight", ".bias")) else (part, "", "")
            found = names.get_name(stem)
            assert found is not None, part
            yield name, found + dot + suffix if found != stem else part, piece
    for name, factors in _factors(config):
        yield name, name, factors


def _laid_out(name: str, array: np.ndarray, config: Any, kind: str) -> Iterator[tuple[str, np.ndarray]]:
    if kind in ONE_ADDED and name.endswith("norm.weight"):
        array = array + 1
    if kind in TURNED and name.endswith(("q_proj.weight", "k_proj.weight", "q_proj.bias", "k_proj.bias")):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        array = array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
    if kind == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        array = array.T
    if kind == "mamba":
        array = array.squeeze(1) if name.endswith("conv1d.weight") else -np.exp(array) if "A_log" in name else array
    if name.endswith("experts.gate_up_proj"):
        gate, up = np.split(array, 2, axis=1)
        yield name.replace("gate_up_proj", "gate_proj.weight"), gate
        yield name.replace("gate_up_proj", "up_proj.weight"), up
    elif name.endswith("experts.down_proj"):
        yield name + ".weight", array
    else:
        yield name, array


def _factors(config: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors that scale a rotary embedding: what each frequency is divided by."""
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type")
    if kind == "longrope":
        yield "rope_factors_short.weight", np.array(rope["short_factor"], np.float32)
        yield "rope_factors_long.weight", np.array(rope["long_factor"], np.float32)
    if kind == "llama3":
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        size = config.head_dim
        plain = 1.0 / rope["rope_theta"] ** (np.arange(0, size, 2) / size)
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        yield "rope_freqs.weight", (plain / scaled.numpy()).astype(np.float32)
