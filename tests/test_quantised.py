"""Quantised weights are run by transformers with their scales, or refused with what is missing; never without the scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.small.folders import folder
from tests.damaged import Tensors, changed, configured, reference, refusal, rewritten, same

BLOCK = 32
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK]}
METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "compressed-tensors": ({"format": "float-quantized", "config_groups": {}}, "compressed-tensors"),
    "bitsandbytes": ({"load_in_8bit": True}, "bitsandbytes"),
    "gptq": ({"bits": 4, "group_size": 128}, "gptq"),
    "awq": ({"bits": 4, "group_size": 128}, "awq"),
    "torchao": ({"quant_type": "int8_weight_only"}, "torchao"),
    "quanto": ({"weights": "int8"}, "quanto"),
    "hqq": ({}, "hqq"),
    "aqlm": ({}, "aqlm"),
    "eetq": ({}, "eetq"),
    "fbgemm_fp8": ({}, "fbgemm"),
    "modelopt": ({"quant_algo": "FP8"}, "modelopt, which transformers does not know"),
}


def linear(name: str, tensor: Tensor) -> bool:
    return tensor.dim() == 2 and "layers" in name


def in_blocks(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A weight as float8 with a scale for each block, and what the two mean together."""
    blocks = weight.unflatten(0, (-1, BLOCK)).unflatten(2, (-1, BLOCK))
    scale = blocks.abs().amax((1, 3)) / 448
    small = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
    meant = small.float() * scale[:, None, :, None]
    return small.flatten(0, 1).flatten(1), scale, meant.flatten(0, 1).flatten(1)


def quantised(path: Path, says: dict[str, Any] | None = FP8) -> Tensor:
    """A folder with block float8 weights, and the logits of the model that they mean."""

    def mean(tensors: Tensors) -> None:
        tensors.update({name: in_blocks(t)[2] for name, t in tensors.items() if linear(name, t)})

    def quantise(tensors: Tensors) -> None:
        for name in [name for name, tensor in tensors.items() if linear(name, tensor)]:
            tensors[name], tensors[f"{name}_scale_inv"], _ = in_blocks(tensors[name])

    expected = reference(changed(path, mean))
    rewritten(folder(path) and path, quantise)
    if says is not None:
        configured(path, quantization_config=says)
    return expected


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_block_float8_is_run_by_transformers_with_its_scales(tmp_path: Path, precision: str) -> None:
    expected = quantised(tmp_path)
    model = same(expected, tmp_path, precision, most=0.02)
    assert not model.merges


def test_what_no_own_kernel_has_is_said_where_a_precision_is_asked_for(tmp_path: Path) -> None:
    quantised(tmp_path)
    for precision in ("float16", "int8", "gguf"):
        assert "since its weights are quantised with fp8; choose auto, float32 or bfloat16" in refusal(
            tmp_path, precision
        )


@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
def test_scales_without_a_word_in_the_configuration_are_not_left_out(tmp_path: Path, precision: str) -> None:
    quantised(tmp_path, says=None)
    assert "quantization_config" in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", ["auto", "float32"])
@pytest.mark.parametrize("suffix", ["weight_scale", "weight_scale_inv", "SCB", "qweight", "scales", "weight_packed"])
def test_tensors_that_scale_others_are_not_left_out(tmp_path: Path, precision: str, suffix: str) -> None:
    name = f"model.layers.0.mlp.up_proj.{suffix}"
    changed(tmp_path, lambda tensors: tensors.update({name: torch.ones(96, 1)}))
    assert f"are quantised, as the tensor {name} shows" in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8])
def test_small_numbers_that_nothing_scales_are_refused(tmp_path: Path, precision: str, kind: torch.dtype) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    changed(tmp_path, lambda tensors: tensors.update({name: tensors[name].to(kind)}))
    assert f"The tensor {name} of {tmp_path.name} is kept as " in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_scale_that_is_missing_is_refused(tmp_path: Path, precision: str) -> None:
    quantised(tmp_path)
    name = "model.layers.1.mlp.down_proj.weight"
    rewritten(tmp_path, lambda tensors: tensors.__delitem__(f"{name}_scale_inv"))
    assert name in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", ["auto", "float32"])
@pytest.mark.parametrize("method", METHODS)
def test_what_transformers_cannot_run_here_is_refused_with_what_is_missing(
    tmp_path: Path, precision: str, method: str
) -> None:
    says, named = METHODS[method]
    sentence = refusal(configured(folder(tmp_path), quantization_config={"quant_method": method, **says}), precision)
    assert f"are quantised with {method}" in sentence
    assert named in sentence
