"""What a model's files say beside its weights: its configuration, and how it is meant to be generated with."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, GenerationConfig

from models.sources.source import Source


def config_of(source: Source) -> Any:
    """The configuration, as transformers reads it."""
    with source.in_one_sentence():
        return AutoConfig.from_pretrained(source.where, trust_remote_code=False, **source.options)


def generation_of(source: Source, config: Any) -> GenerationConfig:
    """The generation configuration, or what `config` says of it."""
    try:
        options: dict[str, Any] = dict(source.options)
        return GenerationConfig.from_pretrained(source.where, **options)
    except OSError:
        return GenerationConfig.from_model_config(config)
