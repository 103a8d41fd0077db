"""A small random model of a family as a transformers folder, its logits far from uniform and different at every position."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from benchmarks.small.families import FAMILIES
from benchmarks.small.tokens import TEMPLATE, tokenizer

GAIN = 1.3  # a matrix over K normal numbers gives numbers of this size; more makes small roundings large
SHARP = 1.5  # how much larger the unembedding is, so that some tokens are likely
WIDENED = 0.2  # what norms and biases are moved by
TIED = 4.0  # how much smaller an embedding is that also unembeds, since a token would else be followed by itself
LAST_NORM = re.compile(r"^(?!.*embed)[^0-9]*(norm|ln_f)[^0-9]*weight$")
LEFT_ALONE = re.compile(r"A_log|dt_|\.D$|time_|rg_lru|sinks|conv|lambda|num_batches")  # a recurrence must stay stable


def folder(path: Path, family: str = "llama", seed: int = 0, template: str | None = TEMPLATE, **changes: Any) -> Path:
    """Writes a model of this family to `path`, the same for the same seed; `changes` go into its configuration."""
    network(family, seed, **changes).save_pretrained(path)
    tokenizer(template).save_pretrained(path)
    return path


def network(family: str = "llama", seed: int = 0, **changes: Any) -> Any:
    """The model itself, float32, ready to be read."""
    config = FAMILIES[family].config(**changes)
    auto = AutoModelForSeq2SeqLM if getattr(config, "is_encoder_decoder", False) else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = auto.from_config(config)
        scatter(model)
    return model.eval()


@torch.no_grad()
def scatter(model: Any) -> None:
    """Draws every weight anew: matrices by their width, norms and biases about what they were."""
    head = model.get_output_embeddings()
    tied = head is not None and head.weight is model.get_input_embeddings().weight
    for name, parameter in model.named_parameters():
        if LEFT_ALONE.search(name):
            continue
        if parameter.dim() < 2:
            parameter.add_(WIDENED * torch.randn_like(parameter))
        else:
            width = parameter.shape[-2] if parameter.dim() == 3 else parameter.shape[-1]
            parameter.normal_(std=GAIN / width**0.5)
        if tied and LAST_NORM.match(name):
            parameter.add_(SHARP * TIED - 1)
    if head is not None:
        head.weight.mul_(1 / TIED if tied else SHARP)
