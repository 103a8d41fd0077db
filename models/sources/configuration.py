"""What a model's files say beside its weights: its configuration, its tokenizer, and how it is meant to be generated with."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from models.errors import ModelError
from models.families import refused
from models.gguf_files import tokenizer
from models.sources.source import Source


def config_of(source: Source) -> Any:
    """The configuration, as transformers reads it, or as llama.cpp does where it is a GGUF file's.

    Raises ModelError for one of a model that cannot decode here.
    """
    if source.file is not None:
        return source.file.config
    config = AutoConfig.from_pretrained(source.where, trust_remote_code=False, **source.options)
    if why_not := refused(config):
        raise ModelError(f"{source.name} cannot decode here, since {why_not}; choose a causal language model of text.")
    return config


def tokenizer_of(source: Source) -> Any:
    """The tokenizer: transformers' own, or that of llama.cpp where it is a GGUF file's."""
    if source.file is not None:
        return tokenizer.tokenizer_of(source.file.metadata)
    return AutoTokenizer.from_pretrained(source.where, trust_remote_code=False, **source.options)


def generation_of(source: Source, config: Any) -> GenerationConfig:
    """The generation configuration, or what `config` says of it."""
    if source.file is not None:
        return GenerationConfig(eos_token_id=sorted(tokenizer.end_ids(source.file.metadata)))
    try:
        options: dict[str, Any] = dict(source.options)
        return GenerationConfig.from_pretrained(source.where, **options)
    except OSError:
        return GenerationConfig.from_model_config(config)
