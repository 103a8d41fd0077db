"""Gemma, Gemma 2 and Gemma 3: norms by one more than their weight, scaled embeddings, windows, soft caps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.gguf_files.common import DENSE, HEAD_NORMS, Architecture, llama_like
from models.gguf_files.metadata import Metadata
from models.gguf_files.rope import Vector

LOCAL_BASE = 10000.0  # of layers with a window in Gemma 3
WIDE = {46: "gemma2", 62: "gemma3"}  # layers of the largest: there llama.cpp scales by all numbers over all heads


def gemma(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    said = llama_like(metadata, vector)
    del said["hidden_act"]
    return said | {"tie_word_embeddings": True, "hidden_activation": "gelu_pytorch_tanh"}


def gemma2(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    metadata.only("attention.sliding_window_pattern", 2)
    return _windowed(metadata, gemma(metadata, vector), every=2, window=4096) | {
        "attn_logit_softcapping": metadata.positive("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": metadata.positive("final_logit_softcapping", 30.0),
    }


def gemma3(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    metadata.only("attention.sliding_window_pattern", 6)
    metadata.only("final_logit_softcapping", 0.0)
    said = _windowed(metadata, gemma(metadata, vector), every=6)
    local = {"rope_type": "default", "rope_theta": metadata.positive("rope.freq_base_swa", LOCAL_BASE)}
    return said | {"rope_parameters": {"full_attention": said["rope_parameters"], "sliding_attention": local}}


def _windowed(metadata: Metadata, said: dict[str, Any], every: int, window: int | None = None) -> dict[str, Any]:
    """All layers but each `every`th attend through a window."""
    layers = range(min(said["num_hidden_layers"], len(metadata.tensors)))
    wide = WIDE.get(said["num_hidden_layers"]) == metadata.architecture
    return said | {
        "sliding_window": metadata.whole("attention.sliding_window", window),
        "layer_types": ["sliding_attention" if (layer + 1) % every else "full_attention" for layer in layers],
        "query_pre_attn_scalar": said["hidden_size"] // said["num_attention_heads"] if wide else said["head_dim"],
    }


def _less_one(weight: Tensor, metadata: Metadata) -> Tensor:
    return weight - 1


AROUND = DENSE | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
STORED = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm", "output_norm")
NORMS = dict.fromkeys(STORED, _less_one)
ARCHITECTURES: Mapping[str, Architecture] = {
    "gemma": Architecture("gemma", gemma, alter=NORMS),
    "gemma2": Architecture("gemma2", gemma2, layer=AROUND, alter=NORMS),
    "gemma3": Architecture("gemma3_text", gemma3, layer=AROUND | HEAD_NORMS, alter=NORMS),
}
