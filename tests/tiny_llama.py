"""A real transformers Llama with a few random layers and the embedded model's tokenizer; different at every seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from models import embedded
from models.language_model import LanguageModel
from models.transformers_model import TransformersModel
from playground.config import Settings


def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(embedded.folder(Settings().cache_folder))


def tiny_llama(seed: int = 0, layers: int = 4, hidden: int = 32, **config: Any) -> LanguageModel:
    return TransformersModel(_network(seed, layers, hidden, **config), tokenizer(), "tiny-llama", f"seed-{seed}", CPU)


def tiny_folder(path: Path, seed: int = 0, extra: tuple[str, ...] = (), **config: Any) -> Path:
    """The same as a folder that can be named on the command line; `extra` tokens make its tokenizer another one."""
    tokens = tokenizer()
    tokens.add_tokens(list(extra))
    _network(seed, 2, 16, **config).save_pretrained(path)
    tokens.save_pretrained(path)
    return path


CPU = torch.device("cpu")


def _network(seed: int, layers: int, hidden: int, **config: Any) -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                **{
                    "vocab_size": 49152,
                    "hidden_size": hidden,
                    "intermediate_size": 2 * hidden,
                    "num_hidden_layers": layers,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 2,
                    "max_position_embeddings": 512,
                    "initializer_range": 0.3,
                    "tie_word_embeddings": True,
                    **config,
                }
            )
        )
