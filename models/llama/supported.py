"""What models.llama can run, told from a configuration: whatever it does not know goes to transformers."""

from __future__ import annotations

import re
from typing import Any

from models.sources.quantised import quantised

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
ROPE_NAMES = {
    *("rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings", "partial_rotary_factor"),
    *("low_freq_factor", "high_freq_factor"),
    *("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
}
# what is computed here, or checked below
COMPUTED = {
    *("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *(
        "num_key_value_heads",
        "head_dim",
        "hidden_act",
        "max_position_embeddings",
        "rms_norm_eps",
        "tie_word_embeddings",
    ),
    *("rope_parameters", "rope_scaling", "rope_theta", "attention_bias", "mlp_bias", "sliding_window"),
    *("use_sliding_window", "max_window_layers", "layer_types", "partial_rotary_factor"),
}
# what says nothing about the numbers of a forward pass
WITHOUT_SAY = {
    *(
        "transformers_version",
        "architectures",
        "auto_map",
        "dtype",
        "torch_dtype",
        "output_hidden_states",
        "return_dict",
    ),
    *("output_attentions", "chunk_size_feed_forward", "is_encoder_decoder", "is_decoder", "id2label", "label2id"),
    *("problem_type", "initializer_range", "use_cache", "pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id"),
    *("sep_token_id", "decoder_start_token_id", "tokenizer_class", "prefix", "finetuning_task", "task_specific_params"),
    *("attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout", "classifier_dropout"),
    *(
        "pretraining_tp",
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "_attn_implementation",
        "gguf_file",
        "transformers_weights",
    ),
    *("_attn_implementation_autoset", "_model_name_or_path", "model_name", "is_llama_config"),
    *("transformers.js_config", "keys_to_ignore_at_inference", "gradient_checkpointing", "torchscript", "use_bfloat16"),
    *("model_max_length", "max_sequence_length", "seq_length", "max_length", "min_length", "do_sample", "temperature"),
    *("top_k", "top_p", "num_beams", "repetition_penalty", "eos_token", "bos_token", "license", "language"),
    *("use_flash_attn", "use_flash_attention", "_flash_attn_2_enabled", "flash_attention", "tags"),
}
IGNORED = re.compile(r"^_*unsloth|tokenizer|^_from|template|prompt")


def unsupported(config: Any) -> str:
    """Why models.llama cannot run a model of this configuration; empty where it can."""
    if config.model_type not in MODEL_TYPES:
        return f"{config.model_type} is not one of {', '.join(MODEL_TYPES)}"
    return (
        _quantised(config)
        or _attention(config)
        or _rotary(config)
        or ("" if config.hidden_act == "silu" else f"its activation is {config.hidden_act}")
        or _unknown(config)
    )


def _quantised(config: Any) -> str:
    method = quantised(config)
    return f"its weights are quantised with {method}" if method else ""


def _attention(config: Any) -> str:
    windowed = getattr(config, "use_sliding_window", getattr(config, "sliding_window", None) is not None)
    if windowed and getattr(config, "sliding_window", None) is not None:
        return "it attends through a window"
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention"}:
        return "its layers attend in different ways"
    if getattr(config, "is_heterogeneous", False):
        return "its layers differ in their sizes"
    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        return "its attention or feed-forward output has a bias"
    heads, keys = int(config.num_attention_heads), int(config.num_key_value_heads or 0)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return "" if keys and heads % keys == 0 and size % 2 == 0 else "its heads cannot be paired"


def _rotary(config: Any) -> str:
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind == "longrope" and rope.get("long_factor") == rope.get("short_factor"):
        return ""  # the same factors at every length, as a GGUF file of Llama 3 has them
    partial = float(rope.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", None)) or 1.0) != 1.0
    if kind not in ROPE_TYPES or partial:
        return f"its rotary embedding is {'partial' if kind in ROPE_TYPES else kind}"
    unknown = sorted(name for name in rope if name not in ROPE_NAMES)
    return f"its rotary embedding has {unknown[0]}" if unknown else ""


def _unknown(config: Any) -> str:
    """Anything the configuration says beyond what its family says by default, and that is not known here."""
    usual = type(config)().to_dict()
    for name, value in sorted(config.to_dict().items()):
        known = name in COMPUTED or name in WITHOUT_SAY or IGNORED.search(name)
        off = value is None or (value is False and "causal" not in name)
        if not known and (value != usual[name] if name in usual else not off):
            return f"its configuration has {name}"
    return ""
