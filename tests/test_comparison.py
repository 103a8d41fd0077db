"""Our own network beside transformers' at load: the right one is taken in every precision, a wrong one never."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.small.folders import folder, network
from models.errors import ModelError
from models.llama import comparison
from models.llama import network as networks
from models.llama.comparison import BOUND, Comparison, reference_of
from models.llama.network import Network, Rotary, rotary_of
from models.loading import load_language_model
from models.sources.fit import fitted
from playground.config import Settings

IDS = [5, 17, 200, 31, 8, 99, 310, 42, 7, 260, 13, 90]
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
PRECISIONS = ("float16", "bfloat16", "int8")
LAYER = "model.layers.1."
Weights = dict[str, Any]


def model_of(family: str, **changes: Any) -> tuple[Any, Weights]:
    """The configuration and the weights of a small model."""
    options = {"sliding_window": None} if family == "mistral" else {}
    model = network(family, **options, **changes)
    reference = reference_of(model.config)
    tied = bool(model.config.tie_word_embeddings)
    return model.config, fitted(
        family, {k: v.detach() for k, v in model.state_dict().items()}, reference.state_dict(), tied
    )


def parts(family: str, precision: str, change: Callable[[Weights], Weights], rotary: Rotary | None = None) -> list[Any]:
    """What a network with changed weights is judged as beside transformers with the right ones."""
    config, weights = model_of(family)
    built = Network(config, change(dict(weights)), precision, rotary or rotary_of(config))
    return Comparison(built, reference_of(config), weights, precision).parts(IDS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_right_network_is_within_its_bounds(family: str, precision: str) -> None:
    found = parts(family, precision, lambda weights: weights)
    assert [part.name for part in found] == ["rotary embedding", "embedding", "layer 1", "layer 2", "layer 3", "logits"]
    assert all(part.same for part in found), found


def scaled(name: str, by: float) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: weights[name] * by}


def swapped(one: str, other: str) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, one: weights[other], other: weights[one]}


def shifted(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: weights[name].roll(1, 0)}


WRONG: dict[str, tuple[str, Callable[[Weights], Weights]]] = {
    "a scale": ("layer 2", scaled(LAYER + "mlp.down_proj.weight", 2.0)),
    "half a scale": ("layer 2", scaled(LAYER + "self_attn.o_proj.weight", 0.5)),
    "a sign": ("layer 2", scaled(LAYER + "self_attn.q_proj.weight", -1.0)),
    "gate and up": ("layer 2", swapped(LAYER + "mlp.gate_proj.weight", LAYER + "mlp.up_proj.weight")),
    "keys and values": ("layer 2", swapped(LAYER + "self_attn.k_proj.weight", LAYER + "self_attn.v_proj.weight")),
    "another layer's": ("layer 1", swapped("model.layers.0.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight")),
    "the order of rows": ("layer 2", shifted(LAYER + "self_attn.q_proj.weight")),
    "the order of tokens": ("embedding", shifted("model.embed_tokens.weight")),
    "the unembedding": ("logits", shifted("lm_head.weight")),
    "a norm": ("layer 2", lambda weights: {**weights, LAYER + "input_layernorm.weight": torch.ones(64)}),
    "the last norm": ("logits", lambda weights: {**weights, "model.norm.weight": torch.ones(64)}),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_wrong_network_is_beyond_its_bounds(wrong: str, precision: str) -> None:
    first, change = WRONG[wrong]
    found = [part for part in parts("llama", precision, change) if not part.same]
    assert found[0].name == first
    assert precision == "int8" or found[0].difference > 3 * found[0].allowed


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_bias_or_a_norm_of_heads_that_is_left_out_is_seen(precision: str) -> None:
    for family, left_out in (("qwen2", "_proj.bias"), ("qwen3", "_norm.weight")):
        found = parts(
            family,
            precision,
            lambda weights, end=left_out: {  # type: ignore[misc]
                name: weight
                for name, weight in weights.items()
                if not (name.startswith(LAYER) and name.endswith(end)) or "layernorm" in name
            },
        )
        assert [part.name for part in found if not part.same] == ["layer 2"]


@pytest.mark.parametrize("change", ["theta", "factor", "far positions only", "attention factor"])
def test_another_rotary_embedding_is_seen_even_where_a_dozen_tokens_do_not_show_it(change: str) -> None:
    right = rotary_of(network("llama").config)
    far = right.frequencies.clone()
    far[-1] *= 1.05
    wrong = {
        "theta": Rotary(right.frequencies**1.05, 1.0),
        "factor": Rotary(right.frequencies / 1.5, 1.0),
        "far positions only": Rotary(far, 1.0),
        "attention factor": Rotary(right.frequencies, 1.1),
    }[change]
    found = parts("llama", "float16", lambda weights: weights, wrong)
    assert not next(part for part in found if part.name == "rotary embedding").same


def test_a_layer_that_enlarges_every_rounding_is_allowed_what_it_does_to_its_input() -> None:
    """Queries and keys ten times as long: attention picks one token, and a rounding now and then another."""
    config, weights = model_of("llama", hidden_size=256, head_dim=64, intermediate_size=384)
    longer = {"q_proj": 10.0, "k_proj": 10.0, "up_proj": 50.0}
    weights = {name: weight * longer.get(name.split(".")[-2], 1.0) for name, weight in weights.items()}
    built = Network(config, weights, "bfloat16", rotary_of(config))
    found = Comparison(built, reference_of(config), weights, "bfloat16").parts(IDS)
    assert max(part.difference for part in found) > BOUND * comparison.GRAIN["bfloat16"]
    assert all(part.same for part in found)


def test_a_network_that_differs_is_refused_and_one_that_is_right_says_how_near_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path)
    said = load_language_model(str(tmp_path), precision="float16").precision_reason
    assert "Compared with transformers over 12 tokens when it was loaded: no part is more than 0." in said
    monkeypatch.setattr(networks, "silu", torch.nn.functional.gelu)
    with pytest.raises(ModelError) as caught:
        load_language_model(str(tmp_path), precision="float16")
    assert "does not compute in float16 what transformers computes with the same weights: layer 1 is " in str(
        caught.value
    )
    assert "choose the precision float32" in str(caught.value)


@pytest.mark.parametrize("precision", ["gguf", "float16"])
def test_the_default_model_is_compared_at_each_start(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Settings().cache_folder
    assert "no part is more than 0." in load_language_model(precision=precision, cache=cache).precision_reason
    right = networks.Rotary.turns

    def wrong(rotary: Rotary, start: int, count: int) -> Tensor:
        return right(rotary, start + 1, count)

    monkeypatch.setattr(networks.Rotary, "turns", wrong)
    with pytest.raises(ModelError, match="does not compute in"):
        load_language_model(precision=precision, cache=cache)


def test_where_memory_is_short_nothing_is_compared_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.llama.same.free_memory", lambda: 1000)
    said = load_language_model(str(folder(tmp_path)), precision="float16").precision_reason
    assert "Not compared with transformers, which takes 0.0 GB of memory while 0.0 GB are free." in said


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    from tests.tiny_llama import tokenizer

    folder(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is not the model's: it makes tokens that the 320 of its table do not have"):
        load_language_model(str(tmp_path), precision="float16")
