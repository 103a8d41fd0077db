"""Llama and Qwen, dense and as mixtures of experts, and the families that are a Llama with something beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.gguf_files.common import ATTENTION, DENSE, FEED, FREQUENCIES, HEAD_NORMS, LAYER, Architecture, llama_like
from models.gguf_files.metadata import Metadata
from models.gguf_files.rope import Vector


def without_window(metadata: Metadata) -> None:
    """Refuses a window, which none of the dense models has in llama.cpp."""
    metadata.only("attention.sliding_window", 0)


def llama(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    metadata.only("expert_count", 0)
    metadata.only("expert_used_count", 0)
    biased = {name: metadata.has(f"blk.0.{name}.bias") for name in (*ATTENTION, *FEED)}
    return llama_like(metadata, vector) | {
        "attention_bias": any(biased[name] for name in ATTENTION),
        "mlp_bias": any(biased[name] for name in FEED),
    }


def qwen(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    metadata.only("expert_count", 0)
    without_window(metadata)
    return llama_like(metadata, vector) | {"use_sliding_window": False}


def mixtral(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    said = llama_like(metadata, vector)
    return said | {
        "num_local_experts": metadata.whole("expert_count"),
        "num_experts_per_tok": metadata.whole("expert_used_count"),
        "intermediate_size": metadata.whole("expert_feed_forward_length", said["intermediate_size"]),
    }


def qwen2moe(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    """llama.cpp does not make the weights of the chosen experts add up to one."""
    without_window(metadata)
    said = llama_like(metadata, vector)
    return said | {
        "num_experts": metadata.whole("expert_count"),
        "num_experts_per_tok": metadata.whole("expert_used_count"),
        "moe_intermediate_size": metadata.whole("expert_feed_forward_length"),
        "shared_expert_intermediate_size": metadata.whole("expert_shared_feed_forward_length"),
        "norm_topk_prob": False,
        "use_sliding_window": False,
    }


def qwen3moe(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    """Here they do add up to one."""
    without_window(metadata)
    return llama_like(metadata, vector) | {
        "num_experts": metadata.whole("expert_count"),
        "num_experts_per_tok": metadata.whole("expert_used_count"),
        "moe_intermediate_size": metadata.whole("expert_feed_forward_length"),
        "norm_topk_prob": True,
        "use_sliding_window": False,
    }


def granite(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    metadata.only("expert_count", 0)
    said = llama_like(metadata, vector)
    return said | {
        "embedding_multiplier": metadata.positive("embedding_scale", 1.0),
        "residual_multiplier": metadata.positive("residual_scale", 1.0),
        "attention_multiplier": metadata.positive("attention.scale", said["head_dim"] ** -0.5),
        "logits_scaling": metadata.positive("logit_scale", 1.0),
    }


def olmo2(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    without_window(metadata)
    return llama_like(metadata, vector)


def smollm3(metadata: Metadata, vector: Vector) -> dict[str, Any]:
    """Every fourth layer turns nothing."""
    said = llama_like(metadata, vector)
    turned = [int((layer + 1) % 4 != 0) for layer in range(min(said["num_hidden_layers"], len(metadata.tensors)))]
    return said | {"no_rope_layers": turned, "use_sliding_window": False}


def _row(weight: Tensor, metadata: Metadata) -> Tensor:
    return weight[None] if weight.dim() == 1 else weight


EXPERTS = LAYER | {
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
}
SHARED = {
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
}
BEHIND = {name: DENSE[name] for name in (*ATTENTION, *FEED)} | {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", llama, turns=FREQUENCIES, interleaved=True),
    "mixtral": Architecture("mixtral", mixtral, layer=EXPERTS, turns=FREQUENCIES, interleaved=True),
    "qwen2": Architecture("qwen2", qwen),
    "qwen3": Architecture("qwen3", qwen, layer=DENSE | HEAD_NORMS),
    "qwen2moe": Architecture("qwen2_moe", qwen2moe, layer=EXPERTS | SHARED, alter={"ffn_gate_inp_shexp": _row}),
    "qwen3moe": Architecture("qwen3_moe", qwen3moe, layer=EXPERTS | HEAD_NORMS),
    "granite": Architecture("granite", granite, interleaved=True),
    "olmo2": Architecture("olmo2", olmo2, layer=BEHIND | HEAD_NORMS),
    "smollm3": Architecture("smollm3", smollm3, interleaved=True),
}
