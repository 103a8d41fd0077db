"""The models before any damage: four folders (two of the own network, two that transformers runs) and two GGUF files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import gguf
import numpy
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from benchmarks.damage import words
from benchmarks.damage.gguf_file import ARRAY, BOOL, F32, I32, STRING, U32, GgufFile, Tensor

FOLDERS: Final = ("llama", "qwen3", "gemma2", "gpt_neox")
SHARDED: Final = ("qwen3", "gemma2")
FILES: Final = ("llama-q4.gguf", "qwen2-f16.gguf")
SHAPE: Final = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.25,
}
GGUF_NAMES: Final = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def make(where: Path) -> None:
    """All of them under `where`, as they always are."""
    made: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any], Any]] = {
        "llama": (LlamaForCausalLM, LlamaConfig, {}, words.pieces()),
        "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 16, "tie_word_embeddings": True}, words.byte_level()),
        "gemma2": (
            Gemma2ForCausalLM,
            Gemma2Config,
            {"head_dim": 16, "sliding_window": 32, "tie_word_embeddings": False},
            words.byte_level(),
        ),
        "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig, {"rotary_pct": 0.5}, _untemplated()),
    }
    for name, (model, config, more, tokenizer) in made.items():
        tokenizer.save_pretrained(where / name)
        whole = _model(model, config, tokenizer, more)
        whole.save_pretrained(where / name, max_shard_size="150KB" if name in SHARDED else "1GB")
    for name in FILES:
        gguf_file(name).write(where / name)


def gguf_file(name: str) -> GgufFile:
    """One of FILES as values."""
    if name == FILES[0]:
        spm = words.pieces()
        file = _gguf("llama", _model(LlamaForCausalLM, LlamaConfig, spm, {}), True)
        _spm_words(file, spm)
        return file
    tokenizer = words.byte_level()
    file = _gguf("qwen2", _model(Qwen2ForCausalLM, Qwen2Config, tokenizer, {}), False)
    _byte_words(file, tokenizer)
    return file


def _untemplated() -> Any:
    tokenizer = words.byte_level()
    tokenizer.chat_template = None
    return tokenizer


def _model(model: Callable[..., Any], config: Callable[..., Any], tokenizer: Any, more: dict[str, Any]) -> Any:
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return model(config(vocab_size=len(tokenizer), **{**SHAPE, **ids, **more})).eval()


def _gguf(architecture: str, model: Any, quantised: bool) -> GgufFile:
    """The model in a file of its own: 4-bit blocks with an 8-bit embedding, or half precision."""
    config, file = model.config, GgufFile()
    file.add("general.architecture", STRING, architecture)
    file.add("general.file_type", U32, 2 if quantised else 1)
    told = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "vocab_size": config.vocab_size,
        "rope.dimension_count": config.hidden_size // config.num_attention_heads,
    }
    for key, value in told.items():
        file.add(f"{architecture}.{key}", U32, value)
    file.add(f"{architecture}.attention.layer_norm_rms_epsilon", F32, config.rms_norm_eps)
    file.add(f"{architecture}.rope.freq_base", F32, 10000.0)
    for name, value in model.state_dict().items():
        file.tensors.append(_tensor(name, value, config, architecture == "llama", quantised))
    return file


def _tensor(name: str, value: torch.Tensor, config: Any, interleaved: bool, quantised: bool) -> Tensor:
    *path, ending = name.split(".")
    layer = f"blk.{path[2]}." if path[1:2] == ["layers"] else ""
    part = ".".join(path[3:] if layer else path)
    if interleaved and part in ("self_attn.q_proj", "self_attn.k_proj"):
        heads = config.num_attention_heads if part == "self_attn.q_proj" else config.num_key_value_heads
        value = value.view(heads, 2, -1, value.shape[-1]).transpose(1, 2).reshape(value.shape)
    kind = gguf.GGMLQuantizationType.F32
    if value.dim() == 2:
        kind = gguf.GGMLQuantizationType.F16
        if quantised:
            kind = getattr(gguf.GGMLQuantizationType, "Q8_0" if "embed" in part or part == "lm_head" else "Q4_0")
    data = gguf.quantize(value.float().numpy(), kind)
    shape = list(reversed(value.shape))
    return Tensor(f"{layer}{GGUF_NAMES[part]}.{ending}", shape, int(kind), numpy.ascontiguousarray(data).tobytes())


def _byte_words(file: GgufFile, tokenizer: Any) -> None:
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    file.add("tokenizer.ggml.model", STRING, "gpt2")
    file.add("tokenizer.ggml.pre", STRING, "qwen2")
    file.add("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))
    file.add("tokenizer.ggml.token_type", ARRAY, (I32, [3 if token in words.CONTROL else 1 for token in tokens]))
    file.add("tokenizer.ggml.merges", ARRAY, (STRING, [" ".join(merge) for merge in model["merges"]]))
    _ids(file, tokenizer, False)


def _spm_words(file: GgufFile, tokenizer: Any) -> None:
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    ranks = {"".join(merge): rank for rank, merge in enumerate(model["merges"])}
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kinds = [2 if token == "<unk>" else 3 if token in words.SPECIAL else 1 for token in tokens]
    file.add("tokenizer.ggml.model", STRING, "llama")
    file.add("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))
    file.add("tokenizer.ggml.scores", ARRAY, (F32, [-float(ranks.get(token, 1000)) for token in tokens]))
    byte = {f"<0x{value:02X}>" for value in range(256)}
    types = [6 if token in byte else kind for token, kind in zip(tokens, kinds, strict=True)]
    file.add("tokenizer.ggml.token_type", ARRAY, (I32, types))
    file.add("tokenizer.ggml.unknown_token_id", U32, 0)
    file.add("tokenizer.ggml.add_space_prefix", BOOL, True)
    _ids(file, tokenizer, True)


def _ids(file: GgufFile, tokenizer: Any, begins: bool) -> None:
    file.add("tokenizer.ggml.bos_token_id", U32, tokenizer.bos_token_id)
    file.add("tokenizer.ggml.eos_token_id", U32, tokenizer.eos_token_id)
    file.add("tokenizer.ggml.add_bos_token", BOOL, begins)
    file.add("tokenizer.chat_template", STRING, tokenizer.chat_template)
