"""The configurations of small models, by name: a transformers model type, or one with a feature that others lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from benchmarks.small.tokens import SIZE

CONTEXT = 256
SIZES: Mapping[str, Any] = {
    "vocab_size": SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": CONTEXT,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 48,
    "sliding_window": 16,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}


@dataclass(frozen=True)
class Family:
    """A model type with what its configuration says beyond SIZES."""

    model_type: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def config(self, **changes: Any) -> Any:
        """The configuration: of SIZES what this type of configuration has, then the family's own, then `changes`."""
        made = CONFIG_MAPPING[self.model_type]
        blank = made()
        known = set(vars(blank)) | set(blank.attribute_map)
        sizes = {name: value for name, value in SIZES.items() if name in known}
        return made(**{**sizes, **self.options, **changes})


def rope(kind: str, **scaling: Any) -> dict[str, Any]:
    """The rotary embedding of a configuration, scaled beyond an original context of a quarter."""
    about = {"rope_type": kind, "rope_theta": 10000.0, "original_max_position_embeddings": CONTEXT // 4, **scaling}
    return {"rope_parameters": about}


LLAMA3 = rope("llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0)
FACTORS = {"short_factor": [1.0 + 0.05 * i for i in range(8)], "long_factor": [2.0 + i for i in range(8)]}
LONGROPE = rope("longrope", **FACTORS)
MLA = {"q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
       "head_dim": 8, "num_key_value_heads": 4}  # fmt: skip
FAMILIES: Mapping[str, Family] = {
    # what models.llama runs
    "llama": Family("llama"),
    "llama-tied": Family("llama", {"tie_word_embeddings": True}),
    "llama-odd": Family("llama", {"hidden_size": 72, "head_dim": 20, "intermediate_size": 101, "num_key_value_heads": 1}),
    "llama-three": Family("llama", {"hidden_size": 60, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 20}),
    "llama-llama3": Family("llama", LLAMA3),
    "llama-linear": Family("llama", rope("linear", factor=4.0)),
    "llama-yarn": Family("llama", rope("yarn", factor=4.0)),
    "mistral": Family("mistral", {"sliding_window": None}),
    "qwen2": Family("qwen2"),
    "qwen2-yarn": Family("qwen2", rope("yarn", factor=4.0)),
    "qwen3": Family("qwen3"),
    "qwen3-tied": Family("qwen3", {"tie_word_embeddings": True}),
    # Llama-like, with something that models.llama lacks
    "llama-bias": Family("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-gelu": Family("llama", {"hidden_act": "gelu"}),
    "llama-dynamic": Family("llama", {**rope("dynamic", factor=4.0), "max_position_embeddings": CONTEXT // 2}),
    "llama-partial": Family(
        "llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}
    ),
    "llama-longrope": Family("llama", LONGROPE),
    "mistral-window": Family("mistral"),
    "qwen2-window": Family("qwen2", {"use_sliding_window": True, "max_window_layers": 1}),
    "qwen3-window": Family("qwen3", {"use_sliding_window": True, "max_window_layers": 1}),
    "phi3": Family("phi3", {"sliding_window": None}),
    "phi3-longrope": Family(
        "phi3", {**LONGROPE, "original_max_position_embeddings": CONTEXT // 4, "sliding_window": None}
    ),
    # other dense transformers
    "apertus": Family("apertus"),
    "arcee": Family("arcee"),
    "bitnet": Family("bitnet"),
    "bloom": Family("bloom"),
    "biogpt": Family("biogpt"),
    "cohere": Family("cohere", {"logit_scale": 1.5}),
    "cohere2": Family("cohere2", {"logit_scale": 1.5}),
    "codegen": Family("codegen", {"rotary_dim": 8}),
    "cwm": Family("cwm"),
    "diffllama": Family("diffllama"),
    "doge": Family("doge"),
    "ernie4_5": Family("ernie4_5"),
    "exaone4": Family("exaone4"),
    "falcon": Family("falcon"),
    "falcon-alibi": Family("falcon", {"alibi": True, "new_decoder_architecture": False}),
    "gemma": Family("gemma"),
    "gemma2": Family("gemma2", {"query_pre_attn_scalar": 16}),
    "gemma3": Family("gemma3_text", {"query_pre_attn_scalar": 16, "num_hidden_layers": 6}),
    "glm": Family("glm"),
    "glm4": Family("glm4"),
    "gpt2": Family("gpt2"),
    "gpt_bigcode": Family("gpt_bigcode"),
    "gpt_neo": Family("gpt_neo", {"num_hidden_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 16}),
    "gpt_neox": Family("gpt_neox"),
    "gptj": Family("gptj", {"rotary_dim": 8}),
    "granite": Family(
        "granite",
        {"embedding_multiplier": 3.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5, "logits_scaling": 0.5},
    ),
    "helium": Family("helium"),
    "hunyuan_v1_dense": Family("hunyuan_v1_dense"),
    "internlm3": Family("internlm3"),
    "ministral": Family("ministral"),
    "mpt": Family("mpt"),
    "nanochat": Family("nanochat"),
    "nemotron": Family("nemotron"),
    "olmo": Family("olmo"),
    "olmo2": Family("olmo2"),
    "olmo3": Family("olmo3"),
    "openai-gpt": Family("openai-gpt"),
    "opt": Family("opt", {"ffn_dim": 96, "word_embed_proj_dim": 64}),
    "persimmon": Family("persimmon"),
    "phi": Family("phi"),
    "seed_oss": Family("seed_oss"),
    "smollm3": Family("smollm3"),
    "stablelm": Family("stablelm"),
    "starcoder2": Family("starcoder2", {"sliding_window": None}),
    "vaultgemma": Family("vaultgemma"),
    "xglm": Family("xglm", {"ffn_dim": 96}),
    # mixtures of experts
    "deepseek_v3": Family("deepseek_v3", {**MLA, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}),
    "gpt_oss": Family("gpt_oss"),
    "granitemoe": Family("granitemoe"),
    "llama4": Family("llama4_text", {"intermediate_size_mlp": 96, "attention_chunk_size": 16}),
    "mixtral": Family("mixtral", {"sliding_window": None}),
    "olmoe": Family("olmoe"),
    "phimoe": Family("phimoe"),
    "phimoe-longrope": Family(
        "phimoe", rope("longrope", **FACTORS, short_mscale=1.1, long_mscale=1.3) | {"sliding_window": None}
    ),
    "qwen2_moe": Family("qwen2_moe"),
    "qwen3_moe": Family("qwen3_moe", {"norm_topk_prob": True}),
    # recurrent, and hybrids of attention and recurrence
    "falcon_h1": Family("falcon_h1", {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16}),
    "falcon_mamba": Family("falcon_mamba", {"intermediate_size": 128}),
    "jamba": Family("jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False}),
    "lfm2": Family("lfm2", {"layer_types": ["conv", "full_attention", "conv"]}),
    "mamba": Family("mamba", {"intermediate_size": 128}),
    "mamba2": Family("mamba2", {"num_heads": 8, "head_dim": 16, "n_groups": 2, "state_size": 16}),
    "qwen3_next": Family(
        "qwen3_next",
        {"layer_types": ["linear_attention", "full_attention", "linear_attention"], "linear_num_value_heads": 4,
         "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16},
    ),
    "recurrent_gemma": Family("recurrent_gemma", {"attention_window_size": 32}),
    "rwkv": Family("rwkv", {"context_length": CONTEXT}),
    "bamba": Family(
        "bamba", {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 8}
    ),
    "granitemoehybrid": Family(
        "granitemoehybrid",
        {"layer_types": ["mamba", "attention", "mamba"], "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16,
         "mamba_n_groups": 1, "shared_intermediate_size": 48},
    ),
    "kimi_linear": Family("kimi_linear", {"layer_types": ["linear_attention", "full_attention", "linear_attention"], **MLA}),
    "minimax": Family(
        "minimax", {"layer_types": ["linear_attention", "full_attention", "linear_attention"], "sliding_window": None}
    ),
    "minimax-window": Family("minimax", {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}),
    "nemotron_h": Family(
        "nemotron_h",
        {"layers_block_type": ["mamba", "attention", "moe", "mamba"], "mamba_num_heads": 8, "mamba_head_dim": 16,
         "ssm_state_size": 16, "n_groups": 2, "chunk_size": 8, "moe_shared_expert_intermediate_size": 48},
    ),
    "xlstm": Family("xlstm", {"num_heads": 4}),
    "zamba2": Family(
        "zamba2",
        {"num_hidden_layers": 4, "layers_block_type": ["mamba", "mamba", "hybrid", "mamba"], "num_mem_blocks": 1,
         "mamba_d_state": 16, "n_mamba_heads": 8, "chunk_size": 8},
    ),
    # encoder–decoders, which are refused
    "t5": Family("t5", {"d_model": 64, "d_ff": 96, "d_kv": 16, "num_layers": 2, "num_heads": 4, "pad_token_id": 0, "decoder_start_token_id": 0}),
    "bart": Family(
        "bart",
        {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "pad_token_id": 0},
    ),
}  # fmt: skip
