"""What our own network is given: only configurations all of which it knows, and everything else goes to transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.small.families import FAMILIES
from benchmarks.small.folders import folder
from models.llama.supported import unsupported
from models.loading import load_language_model
from tests.damaged import configured, reference, refusal, same

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
FREE = {"mistral": {"sliding_window": None}}
SCALED: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "yarn": YARN,
    "yarn, attention_factor": {**YARN, "attention_factor": 1.3},
    "yarn, mscale": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5},
    "yarn, truncate": {**YARN, "truncate": False, "beta_fast": 16, "beta_slow": 2},
    "llama3": {
        **{"rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64},
        **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    },
}


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_the_four_families_are_known(family: str) -> None:
    assert unsupported(FAMILIES[family].config(**FREE.get(family, {}))) == ""


UNKNOWN: dict[str, tuple[str, dict[str, Any], str]] = {
    "a window": ("mistral", {"sliding_window": 16}, "window"),
    "some layers with a window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
        "window",
    ),
    "a pattern of layers": (
        "qwen3",
        {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
        "layers",
    ),
    "a bias": ("llama", {"attention_bias": True}, "bias"),
    "a bias of the feed-forward": ("llama", {"mlp_bias": True}, "bias"),
    "an activation": ("llama", {"hidden_act": "gelu"}, "activation"),
    "a part of each head": (
        "llama",
        {"rope_parameters": {**SCALED["linear"], "partial_rotary_factor": 0.5}},
        "partial",
    ),
    "dynamic": ("llama", {"rope_parameters": {**SCALED["linear"], "rope_type": "dynamic"}}, "dynamic"),
    "a rotary embedding by layer": (
        "llama",
        {"rope_parameters": {**SCALED["linear"], "per_layer": {"0": 1}}},
        "per_layer",
    ),
    "a scale of the logits": ("llama", {"logits_scaling": 8.0}, "logits_scaling"),
    "a scale of the embedding": ("llama", {"embedding_multiplier": 12.0}, "embedding_multiplier"),
    "a scale of the residual": ("qwen2", {"residual_multiplier": 0.2}, "residual_multiplier"),
    "a scale of attention": ("mistral", {"attention_multiplier": 0.1, "sliding_window": None}, "attention_multiplier"),
    "a soft cap": ("llama", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
    "layers without positions": ("llama", {"no_rope_layers": [1, 1, 0]}, "no_rope_layers"),
    "experts": ("llama", {"num_local_experts": 8}, "num_local_experts"),
    "both directions": ("llama", {"is_causal": False}, "is_causal"),
    "a norm of queries and keys": ("llama", {"use_qk_norm": True}, "use_qk_norm"),
    "quantised": ("llama", {"quantization_config": {"quant_method": "fp8"}}, "quantised"),
    "heads that do not divide": ("llama", {"num_key_value_heads": 3}, "heads"),
    "an odd head": ("llama", {"head_dim": 15}, "heads"),
    "another family": ("granite", {}, "granite"),
    "a family of windows": ("gemma2", {}, "gemma2"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_not_known_is_named(what: str) -> None:
    family, changes, word = UNKNOWN[what]
    known = {name: value for name, value in changes.items() if name not in ("head_dim", "num_key_value_heads")}
    config = FAMILIES[family].config(**known)
    for name, value in changes.items():
        setattr(config, name, value)
    assert word in unsupported(config)


@pytest.mark.parametrize("name", ["unsloth_version", "_name_or_path", "is_llama_config", "transformers.js_config"])
def test_what_says_nothing_of_the_numbers_keeps_no_model_from_running_fast(name: str) -> None:
    config = FAMILIES["llama"].config()
    setattr(config, name, "something")
    config.rope_interleaved = False
    config.use_mrope = False
    assert unsupported(config) == ""
    config.rope_interleaved = True
    assert "rope_interleaved" in unsupported(config)


@pytest.mark.parametrize("scaling", SCALED)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_scaled_rotary_embeddings_are_those_of_transformers(tmp_path: Path, scaling: str, family: str) -> None:
    folder(tmp_path, family, rope_parameters=SCALED[scaling])
    assert same(reference(tmp_path), tmp_path).merges
    legacy = {name: value for name, value in SCALED[scaling].items() if name != "rope_theta"}
    configured(tmp_path, rope_parameters=None, rope_theta=10000.0, rope_scaling=legacy)
    same(reference(tmp_path), tmp_path)


@pytest.mark.parametrize(
    "what", ["a window", "a bias", "an activation", "a scale of the logits", "some layers with a window"]
)
def test_transformers_runs_it_with_its_own_numbers(tmp_path: Path, what: str) -> None:
    family, changes, word = UNKNOWN[what]
    folder(tmp_path, family, **changes)
    model = load_language_model(str(tmp_path), threads=1)
    assert not model.merges
    assert word in model.precision_reason
    same(reference(tmp_path), tmp_path, "auto")


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_what_transformers_loads_but_cannot_run_is_refused_at_once(tmp_path: Path, precision: str) -> None:
    family, changes, _ = UNKNOWN["a part of each head"]
    assert "do not fit together" in refusal(folder(tmp_path, family, **changes), precision)
    family, changes, _ = UNKNOWN["both directions"]
    assert "see what comes after a token" in refusal(folder(tmp_path, family, **changes), precision)


@pytest.mark.parametrize("epsilon", [1e-6, 1e-5, 1e-2])
def test_the_epsilon_of_the_norms_is_the_configurations(tmp_path: Path, epsilon: float) -> None:
    folder(tmp_path, rms_norm_eps=epsilon)
    same(reference(tmp_path), tmp_path)
