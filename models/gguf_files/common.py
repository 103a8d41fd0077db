"""What the architectures of GGUF files have in common, in transformers' terms: names of tensors, sizes, attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from models.gguf_files.metadata import Metadata
from models.gguf_files.rope import Vector, rope_of

OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
ATTENTION = {"attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj", "attn_output": "o_proj"}
FEED = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
LAYER = {gguf: f"self_attn.{name}" for gguf, name in ATTENTION.items()} | NORMS
DENSE = LAYER | FEED
FREQUENCIES = ("rope_freqs.weight",)
Alter = Callable[[Tensor, Metadata], Tensor]


@dataclass(frozen=True)
class Architecture:
    """`kind` is transformers' model type, `configuration` its arguments from the metadata; `layer` and `outside` give the
    tensors' names within a layer and outside of one; what `alter` names is stored otherwise than transformers has it.
    Where RoPE turns neighbours and not numbers half a head apart, rows of queries and keys are `interleaved`.
    """

    kind: str
    configuration: Callable[[Metadata, Vector], dict[str, Any]]
    layer: Mapping[str, str] = field(default_factory=lambda: DENSE)
    outside: Mapping[str, str] = field(default_factory=lambda: OUTSIDE)
    prefix: str = "model.layers."
    alter: Mapping[str, Alter] = field(default_factory=dict)
    turns: tuple[str, ...] = ()  # the tensors that the rotary embedding reads
    interleaved: bool = False


def sizes(metadata: Metadata) -> dict[str, Any]:
    """What every architecture says in the same way."""
    metadata.own("tensor_data_layout")  # of the first converters; nothing reads it
    return {
        "hidden_size": metadata.whole("embedding_length"),
        "num_hidden_layers": metadata.whole("block_count"),
        "max_position_embeddings": metadata.whole("context_length"),
        "num_attention_heads": metadata.whole("attention.head_count"),
        "num_key_value_heads": metadata.whole("attention.head_count_kv", metadata.whole("attention.head_count")),
        "tie_word_embeddings": not metadata.has("output.weight"),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def head_of(metadata: Metadata, said: Mapping[str, Any]) -> int:
    """Numbers a head; keys and values must have as many."""
    usual = max(1, said["hidden_size"] // said["num_attention_heads"])
    head = metadata.whole("attention.key_length", usual)
    if metadata.whole("attention.value_length", usual) != head:
        raise metadata.refused("attention.value_length", "differs from that of keys, which is not read here")
    if head % 2 or said["num_attention_heads"] % said["num_key_value_heads"]:
        raise metadata.refused("attention.head_count", "does not fit the sizes of the heads")
    return head


def llama_like(metadata: Metadata, vector: Vector, partial: bool = False) -> dict[str, Any]:
    """The configuration of a model of RMSNorm, RoPE, grouped-query attention and SwiGLU."""
    said = sizes(metadata)
    head = head_of(metadata, said)
    metadata.only("attention.causal", True)
    return said | {
        "intermediate_size": metadata.whole("feed_forward_length"),
        "head_dim": head,
        "rms_norm_eps": metadata.positive("attention.layer_norm_rms_epsilon"),
        "rope_parameters": rope_of(metadata, head, vector, partial),
        "hidden_act": "silu",
    }


HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
