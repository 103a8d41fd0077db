"""The tensors of a model of safetensors by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from models.sources.source import Source


def weights_of(source: Source) -> dict[str, Any]:
    """Straight from safetensors where they lie in a folder, else through transformers."""
    files = sorted(Path(source.where).glob("*.safetensors")) if not source.options else []
    if not files:
        model = AutoModelForCausalLM.from_pretrained(
            source.where, trust_remote_code=False, dtype=torch.float32, **source.options
        )
        return dict(model.state_dict())
    weights: dict[str, Any] = {}
    for file in files:
        with safe_open(file, "pt") as tensors:
            weights |= {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    return weights
