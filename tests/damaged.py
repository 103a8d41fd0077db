"""Small models in folders, changed as the tests want them, and what transformers makes of them undamaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchmarks.small.folders import folder
from models.errors import ModelError
from models.language_model import LanguageModel
from models.loading import load_language_model

IDS = [5, 17, 200, 31, 8, 99, 310, 42, 7, 260]
Tensors = dict[str, Tensor]


def changed(path: Path, change: Callable[[Tensors], None], family: str = "llama", **config: Any) -> Path:
    """A folder whose tensors were changed in place after it was saved."""
    folder(path, family, **config)
    rewritten(path, change)
    return path


def rewritten(path: Path, change: Callable[[Tensors], None]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(path / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def without(name: str) -> Callable[[Tensors], None]:
    """The change that takes a tensor out."""
    return lambda tensors: tensors.__delitem__(name)


def configured(path: Path, **says: Any) -> Path:
    """The folder with a configuration that says something else."""
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **says}))
    return path


def sharded(path: Path, family: str = "llama", **config: Any) -> Path:
    """A folder whose weights lie in several files with an index."""
    folder(path, family, **config)
    model = AutoModelForCausalLM.from_pretrained(path)
    (path / "model.safetensors").unlink()
    model.save_pretrained(path, max_shard_size="100KB")
    assert len(list(path.glob("*.safetensors"))) > 1
    return path


@torch.inference_mode()
def reference(path: Path) -> Tensor:
    """The logits [T, V] of transformers in float32."""
    logits: Tensor = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)(torch.tensor([IDS])).logits[0]
    return logits


def logits_of(model: LanguageModel) -> Tensor:
    """The logits [T, V] after each of IDS, decoded one by one."""
    output, cache = model.prefill(IDS[:1])
    found = [output.logits]
    for token in IDS[1:]:
        found.append(model.step(torch.tensor([token]), cache).logits)
    return torch.cat(found)


def same(expected: Tensor, path: Path, precision: str = "float16", most: float = 1e-4) -> LanguageModel:
    """The model of a folder, which must have these logits."""
    model = load_language_model(str(path), precision=precision, threads=1)
    p, q = (x.double().log_softmax(-1) for x in (expected, logits_of(model)))
    assert float((p.exp() * (p - q)).sum(-1).mean()) < most
    return model


def refusal(path: Path, precision: str = "float16") -> str:
    """The one sentence that a folder is refused with."""
    with pytest.raises(ModelError) as caught:
        load_language_model(str(path), precision=precision, threads=1)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Error" not in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 500
    return sentence
