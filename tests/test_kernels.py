"""The linear maps at every shape: the product of their matrix, whatever stands beside it in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.small.folders import folder
from benchmarks.small.gguf_files import gguf_file
from models.language_model import LanguageModel
from models.llama import kernels
from models.llama.blocks import GROUP, Blocks
from models.llama.model import LlamaModel
from models.loading import load_language_model
from models.precision import seconds
from tests import kernel_shapes

ODD = {"hidden_size": 200, "intermediate_size": 333, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 50}


def test_every_shape_gives_the_product_of_its_matrix() -> None:
    """In a process of its own: a kernel that reads beyond its buffer ends it."""
    command = [sys.executable, "-m", kernel_shapes.__name__, "2"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"after {lines[-1]}: {done.stderr[-2000:]}"
    assert sum(line.startswith("tried") for line in lines) > 500
    assert [line for line in lines if line.startswith("wrong")] == []


@pytest.mark.parametrize("precision", kernels.PRECISIONS)
def test_a_model_of_odd_sizes_gives_transformers_numbers(precision: str, tmp_path: Path) -> None:
    if precision == "gguf":
        where = gguf_file(
            tmp_path / "m.gguf", "llama-three", "Q4_1", hidden_size=96, head_dim=32, intermediate_size=160
        )
    else:
        where = folder(tmp_path / "m", "llama", **ODD)
    reference = load_language_model(str(where), precision="float32")
    model = load_language_model(str(where), precision=precision, cache=tmp_path / "cache")
    assert isinstance(model, LlamaModel)
    prompt, reply = list(range(3, 40)), list(range(40, 70))
    expected, logits = (m.score(prompt, reply).double().log_softmax(-1) for m in (reference, model))
    distance = (expected.exp() * (expected - logits)).sum(-1)
    assert distance.max() < {"float16": 1e-4, "bfloat16": 0.02, "gguf": 0.02, "int8": 0.05}[precision]
    stepped, cache = model.prefill(prompt)
    for place, token in enumerate(reply[:5]):
        torch.testing.assert_close(stepped.logits[0], model.score(prompt, reply)[place], atol=0.06, rtol=0.01)
        stepped = model.step(torch.tensor([token]), cache)


@pytest.mark.parametrize("outputs", [1, 17])
def test_things_to_try_are_as_a_file_has_them(outputs: int) -> None:
    four = kernels.anything(outputs, 2 * GROUP, "gguf")
    assert isinstance(four, Blocks)
    assert four.dense().shape == (outputs, 2 * GROUP)
    dense = kernels.anything(outputs, 200, "gguf")  # no file has blocks of this width
    assert isinstance(dense, torch.Tensor)
    assert dense.shape == (outputs, 200)


def test_a_precision_whose_products_are_wrong_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(kernels.available, kernels.PRECISIONS))
    actual = torch._weight_int8pack_mm
    monkeypatch.setattr(torch, "_weight_int8pack_mm", lambda x, levels, scales: 1.5 * actual(x, levels, scales))
    assert not kernels.available("int8")


def test_looking_for_a_precision_leaves_random_numbers_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    kernels.available("float16")
    assert torch.equal(torch.randn(4), expected)


def test_odd_sizes_can_be_timed() -> None:
    assert all(value > 0 for value in seconds([200, 333], [*kernels.PRECISIONS, "float32"]).values())


@pytest.mark.parametrize("factor", [1e6, 1e-8])
def test_what_float16_cannot_hold_runs_in_float32_and_is_counted(factor: float, tmp_path: Path) -> None:
    """One layer's map up is scaled and its map down the other way, which together change nothing."""
    where = folder(tmp_path, "llama")
    reference = load_language_model(str(where), precision="float32")
    rescaled = load_language_model(str(where), precision="float32")
    with torch.no_grad():
        mlp = rescaled.model.model.layers[1].mlp
        mlp.up_proj.weight.mul_(factor)
        mlp.down_proj.weight.div_(factor)
    rescaled.model.save_pretrained(where)
    model = load_language_model(str(where), precision="float16")
    assert isinstance(model, LlamaModel)
    prompt, reply = list(range(3, 40)), list(range(40, 70))
    torch.testing.assert_close(model.score(prompt, reply), reference.score(prompt, reply), atol=0.05, rtol=0.01)
    assert model.network.otherwise == 2
    assert "2 run in float32, since float16 cannot hold" in model.precision_reason


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory that nobody has written holds NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.empty(3).isnan().all()
        assert torch.zeros(1).new_empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("group", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("keys", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 20])
def test_no_layout_of_heads_reads_what_was_not_written(group: int, keys: int, size: int, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"num_attention_heads": group * keys, "num_key_value_heads": keys, "head_dim": size}
    where = folder(tmp_path, "llama", hidden_size=12 * group * keys, num_hidden_layers=2, **sizes)
    reference = load_language_model(str(where), precision="float32")
    with poisoned():
        model = load_language_model(str(where), precision="float16")
        logits = decoded(model)
    torch.testing.assert_close(logits, decoded(reference), atol=0.05, rtol=0.01)


def decoded(model: LanguageModel) -> torch.Tensor:
    """Logits of prompts of two lengths that step together, three rows of one and one of the other."""
    long, short = (model.prefill(range(3, 3 + length))[1] for length in (37, 5))
    cache = model.join([long, short], [3, 1])
    found = [model.step(torch.tensor([step, step + 50, step + 90, step]), cache).logits for step in range(3, 6)]
    return torch.stack(found)
