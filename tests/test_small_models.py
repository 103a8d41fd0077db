"""The small random models that tests, table and fuzzing run on: the same each time, and able to show a fault."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks.small import blocks, tokens
from benchmarks.small.families import FAMILIES
from benchmarks.small.folders import folder, network
from benchmarks.small.gguf_files import gguf_file
from models.loading import load_language_model

IDS = torch.tensor([[5, 60, 70, 80, 33, 150, 200, 9, 10, 11]])


def test_a_folder_is_the_network_of_its_seed(tmp_path: Path) -> None:
    read = AutoModelForCausalLM.from_pretrained(folder(tmp_path / "a", "qwen3-tied", seed=3))
    logits = network("qwen3-tied", seed=3)(IDS).logits
    assert torch.equal(read(IDS).logits, logits)
    assert not torch.equal(network("qwen3-tied", seed=4)(IDS).logits, logits)


@pytest.mark.parametrize("family", ["llama", "gemma", "phi3-longrope", "mixtral", "mamba", "jamba"])
def test_logits_depend_on_the_order_of_the_context(family: str) -> None:
    model = network(family)
    logits, turned = (model(ids).logits[0, -1] for ids in (IDS, IDS[:, [1, 0, *range(2, 10)]]))
    assert (logits - turned).abs().max() > 0.05
    assert logits.softmax(-1).max() > 4 / FAMILIES[family].config().vocab_size


@pytest.mark.parametrize("kind", blocks.KINDS)
def test_every_format_keeps_the_spread_of_a_matrix(kind: str) -> None:
    weight = np.random.default_rng(0).normal(0, 0.1, (64, 256)).astype(np.float32)
    raw = blocks.encoded(weight, kind)
    values = gguf.dequantize(raw, gguf.GGMLQuantizationType[kind])
    assert values.shape == weight.shape
    assert np.isfinite(values).all()
    assert 0.8 < values.std() / weight.std() < 1.25
    assert abs(values.mean()) < 0.02


def test_a_gguf_file_is_the_model_of_the_folder(tmp_path: Path) -> None:
    expected = load_language_model(str(folder(tmp_path / "folder", "llama-tied")), precision="float32")
    model = load_language_model(str(gguf_file(tmp_path / "m.gguf", "llama-tied")), precision="float32")
    ids = IDS[0].tolist()
    torch.testing.assert_close(model.score(ids, ids), expected.score(ids, ids), atol=1e-4, rtol=1e-4)
    assert model.encode_chat("Name a planet.") == expected.encode_chat("Name a planet.")
    assert model.vocab_size == tokens.SIZE
