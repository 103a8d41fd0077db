"""The rotary embedding of a GGUF file in transformers' terms, with every way to stretch it that llama.cpp obeys.

llama.cpp turns pair i of D numbers by position · scale · base^(−2i/D) / factor_i, where scale is 1 / rope.scaling.factor
and the factors are those of the tensor rope_freqs.weight (Llama 3.1); yarn mixes scaled and unscaled turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.gguf_files.metadata import Metadata, shown

BASE = 10000.0
FAST, SLOW = 32.0, 1.0  # turns within the original context between which yarn mixes
Vector = Callable[[str], list[float]]  # a small tensor of the file by its name


def rope_of(metadata: Metadata, head: int, vector: Vector, partial: bool = False) -> dict[str, Any]:
    """transformers' `rope_parameters` for heads of `head` numbers. Raises ModelError for what it has no word for.

    `partial` says that the architecture may turn a part of each head only.
    """
    turned = metadata.whole("rope.dimension_count", head)
    if turned > head or turned % 2 or (turned != head and not partial):
        raise metadata.refused("rope.dimension_count", f"is {turned} for heads of {head}, which is not read here")
    kind, factor = _stretching(metadata)
    parameters: dict[str, Any] = {"rope_type": "default", "rope_theta": metadata.positive("rope.freq_base", BASE)}
    if partial:
        parameters["partial_rotary_factor"] = turned / head
    if partial and metadata.has("rope_factors_long.weight"):
        return parameters | _by_length(metadata, vector, turned)
    if metadata.has("rope_freqs.weight"):
        if kind != "none" and factor != 1:
            raise metadata.refused(
                "rope.scaling.type", "stands beside rope_freqs.weight, and the two are not read together"
            )
        return parameters | _with_factors(metadata, vector("rope_freqs.weight"), turned)
    if kind == "linear" and factor != 1:
        return parameters | {"rope_type": "linear", "factor": factor}
    return parameters | (_yarn(metadata, factor) if kind == "yarn" else {})


def _stretching(metadata: Metadata) -> tuple[str, float]:
    """How positions are stretched, and how far: without a type llama.cpp takes a factor as linear."""
    kind = metadata.own("rope.scaling.type") or "linear"
    if kind == "longrope" and metadata.has("rope_factors_long.weight"):
        kind = "none"  # the factors are all there is to it
    if kind not in ("none", "linear", "yarn"):
        raise metadata.refused("rope.scaling.type", f"is {shown(kind)}, which is not read here")
    older = metadata.real("rope.scale_linear", 0.0)
    factor = metadata.real("rope.scaling.factor", older) or 1.0
    metadata.own("rope.scaling.finetuned")  # says where the factor comes from, and changes nothing
    if kind != "yarn":
        for key in ("original_context_length", "yarn_log_multiplier"):
            metadata.own(f"rope.scaling.{key}")  # of use to yarn alone
    if kind != "yarn" and not metadata.has("rope_factors_long.weight"):
        metadata.only("rope.scaling.attn_factor", 1.0)
    return kind, factor


def _with_factors(metadata: Metadata, factors: list[float], turned: int) -> dict[str, Any]:
    """A divisor for each pair, at any length: longrope with the same factors for short and long."""
    if len(factors) != turned // 2 or not all(factor > 0 for factor in factors):
        raise metadata.refused("rope.dimension_count", f"is {turned}, and rope_freqs.weight has {len(factors)} factors")
    return {
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": metadata.whole("context_length"),
    }


def _by_length(metadata: Metadata, vector: Vector, turned: int) -> dict[str, Any]:
    """Divisors for texts within the original context and for longer ones (LongRoPE, arXiv 2402.13753)."""
    long, short = vector("rope_factors_long.weight"), vector("rope_factors_short.weight")
    if not len(long) == len(short) == turned // 2 or not all(factor > 0 for factor in (*long, *short)):
        raise metadata.refused("rope.dimension_count", f"is {turned}, and the file has factors for {len(long)} pairs")
    return {
        "rope_type": "longrope",
        "short_factor": short,
        "long_factor": long,
        "attention_factor": metadata.positive("rope.scaling.attn_factor", 1.0),
        "original_max_position_embeddings": metadata.whole("rope.scaling.original_context_length"),
    }


def _yarn(metadata: Metadata, factor: float) -> dict[str, Any]:
    """YaRN (Peng et al. 2023, arXiv 2309.00071) as llama.cpp has it: turns are scaled by 1 + ln(factor) / 10."""
    metadata.only("rope.scaling.yarn_beta_fast", FAST)
    metadata.only("rope.scaling.yarn_beta_slow", SLOW)
    metadata.only("rope.scaling.yarn_ext_factor", -1.0, 1.0)
    metadata.only("rope.scaling.yarn_log_multiplier", 0.0)
    metadata.only("rope.scaling.yarn_attn_factor", 1.0)
    metadata.only("rope.scaling.attn_factor", 1.0)
    if factor < 1:
        raise metadata.refused("rope.scaling.factor", f"must be at least 1 for yarn, and is {factor}")
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": metadata.whole(
            "rope.scaling.original_context_length", metadata.whole("context_length")
        ),
        "beta_fast": FAST,
        "beta_slow": SLOW,
    }
