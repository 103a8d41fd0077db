"""Weights in ggml's block formats: quantised where the package gguf can, else random blocks with sane scales.

What a random block holds is whatever its format makes of its bytes; the scales are set so that the weights spread as those
of other matrices do. `gguf.dequantize` says what they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import gguf
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

QUANTISED = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
SCALES: Mapping[str, tuple[int, int | None, float]] = {  # bytes where scale and minimum stand, and minimum ÷ scale
    "Q2_K": (80, 82, 1.5),
    "Q3_K": (108, None, 0.0),
    "Q4_K": (0, 2, 7.5),
    "Q5_K": (0, 2, 15.5),
    "Q6_K": (208, None, 0.0),
    "IQ4_NL": (0, None, 0.0),
    "IQ4_XS": (0, None, 0.0),
    "IQ3_S": (0, None, 0.0),
    "IQ3_XXS": (0, None, 0.0),
    "IQ2_S": (0, None, 0.0),
    "IQ2_XS": (0, None, 0.0),
    "IQ2_XXS": (0, None, 0.0),
}
KINDS = (*QUANTISED, *SCALES)


def encoded(weight: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    """A matrix [N, K] in this format; where the format can only be read here, random blocks of the same spread.

    Raises ValueError for a width that the format has no blocks for.
    """
    size, _ = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    if weight.shape[-1] % size:
        raise ValueError(f"{kind} comes in blocks of {size} weights; a width of {weight.shape[-1]} is no multiple")
    if kind in QUANTISED:
        return np.asarray(gguf.quantize(weight, GGMLQuantizationType[kind]))
    return _random(weight, kind, np.random.default_rng(seed))


def _random(weight: np.ndarray, kind: str, random: np.random.Generator) -> np.ndarray:
    quantisation = GGMLQuantizationType[kind]
    size, length = GGML_QUANT_SIZES[quantisation]
    blocks = random.integers(0, 256, (weight.size // size, length), dtype=np.uint8)
    _scaled(blocks, kind, np.ones(len(blocks)))
    spread = weight.std() / gguf.dequantize(blocks, quantisation).std()
    _scaled(blocks, kind, spread * random.uniform(0.7, 1.3, len(blocks)))
    return blocks.reshape(*weight.shape[:-1], weight.shape[-1] // size * length)


def _scaled(blocks: np.ndarray, kind: str, scales: np.ndarray) -> None:
    scale, minimum, ratio = SCALES[kind]
    for place, numbers in ((scale, scales), (minimum, ratio * scales)):
        if place is not None:
            blocks[:, place : place + 2] = numbers.astype("<f2")[:, None].view(np.uint8)
