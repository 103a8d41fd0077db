"""Architectures with joined maps, LayerNorm or learned positions: Phi-3, StarCoder 2, StableLM, Nemotron, GPT-2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.gguf_files.common import DENSE, LAYER, Architecture, head_of, llama_like, sizes
from models.gguf_files.metadata import Metadata
from models.gguf_files.rope import Vector, rope_of

EPSILON = "attention.layer_norm_epsilon"


def phi3(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    """llama.cpp attends without the window that some files name."""
    metadata.own("attention.sliding_window")
    metadata.only("rope.scaling.type", "none", "longrope")
    said = llama_like(metadata, vector, partial=True)
    del said["head_dim"]
    original = said["rope_parameters"].get("original_max_position_embeddings", said["max_position_embeddings"])
    return said | {"sliding_window": None, "original_max_position_embeddings": original}


def _with_layer_norm(metadata: Metadata, vector: Vector, partial: bool = False) -> dict[str, Any]:
    said = sizes(metadata)
    head = head_of(metadata, said)
    metadata.only("attention.causal", True)
    return said | {
        "intermediate_size": metadata.whole("feed_forward_length"),
        "rope_parameters": rope_of(metadata, head, vector, partial),
    }


def starcoder2(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    return _with_layer_norm(metadata, vector) | {
        "norm_epsilon": metadata.positive(EPSILON),
        "hidden_act": "gelu_pytorch_tanh",
        "use_bias": True,
        "sliding_window": None,
    }


def stablelm(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    parallel = metadata.own("use_parallel_residual")
    return _with_layer_norm(metadata, vector, partial=True) | {
        "layer_norm_eps": metadata.positive(EPSILON),
        "hidden_act": "silu",
        "use_qkv_bias": metadata.has("blk.0.attn_q.bias"),
        "use_parallel_residual": bool(parallel) and not metadata.has("blk.0.ffn_norm.weight"),
    }


def nemotron(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    return _with_layer_norm(metadata, vector, partial=True) | {
        "norm_eps": metadata.positive(EPSILON),
        "hidden_act": "relu2",
        "attention_bias": metadata.has("blk.0.attn_q.bias"),
        "mlp_bias": metadata.has("blk.0.ffn_up.bias"),
        "head_dim": head_of(metadata, sizes(metadata)),
    }


def gpt2(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    said = sizes(metadata)
    head = head_of(metadata, said)
    if (
        said["num_key_value_heads"] != said["num_attention_heads"]
        or head * said["num_attention_heads"] != said["hidden_size"]
    ):
        raise metadata.refused("attention.head_count_kv", "differs from the number of heads, which is not read here")
    return {
        "hidden_size": said["hidden_size"],
        "num_hidden_layers": said["num_hidden_layers"],
        "n_embd": said["hidden_size"],
        "n_layer": said["num_hidden_layers"],
        "n_head": said["num_attention_heads"],
        "n_positions": said["max_position_embeddings"],
        "n_inner": metadata.whole("feed_forward_length"),
        "layer_norm_epsilon": metadata.positive(EPSILON),
        "activation_function": "gelu_pytorch_tanh",
        **{key: said[key] for key in ("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")},
    }


def _across(weight: Tensor, metadata: Metadata) -> Tensor:
    return weight.T.contiguous() if weight.dim() == 2 else weight


def _less_one(weight: Tensor, metadata: Metadata) -> Tensor:
    return weight - 1


TWO_MAPS = LAYER | {"ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}
BY_LENGTH = ("rope_factors_long.weight", "rope_factors_short.weight")
JOINED = {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}
OF_GPT2 = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
AROUND_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
MAPS = dict.fromkeys(("attn_qkv", "attn_output", "ffn_up", "ffn_down"), _across)
ARCHITECTURES: Mapping[str, Architecture] = {
    "phi3": Architecture("phi3", phi3, layer=DENSE | JOINED, turns=BY_LENGTH),
    "starcoder2": Architecture("starcoder2", starcoder2, layer=TWO_MAPS),
    "stablelm": Architecture("stablelm", stablelm),
    "nemotron": Architecture(
        "nemotron",
        nemotron,
        layer=LAYER | {"ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"},
        alter={name + ".weight": _less_one for name in ("attn_norm", "ffn_norm", "output_norm")},
    ),
    "gpt2": Architecture("gpt2", gpt2, layer=OF_GPT2, outside=AROUND_GPT2, prefix="transformer.h.", alter=MAPS),
}
