"""The cut model: what it computes, that it copies nothing, counts what it reads and leaves the whole model alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from benchmarks.small import tokens as small
from benchmarks.small.folders import network
from models.errors import ModelError
from models.language_model import LanguageModel
from models.transformers_model import TransformersModel
from models.tuned_lens import TunedLens, first_layers, last_norm, unembed, with_lens
from tests.tiny_llama import CPU, tiny_llama, tokenizer

IDS = [5, 900, 77, 1234, 5, 61]
REPLY = [8, 300, 41]


def random_lens(hidden: int) -> TunedLens:
    lens, noise = TunedLens(hidden), torch.Generator().manual_seed(1)
    with torch.no_grad():
        lens.weight.copy_(torch.randn(hidden, hidden, generator=noise) / hidden**0.5)
        lens.bias.copy_(torch.randn(hidden, generator=noise))
    return lens


def other(kind: str) -> LanguageModel:
    """Models that are built otherwise than Llama: other names, a soft cap and windows, a cap on their logits."""
    torch.manual_seed(0)
    network: Any
    if kind == "gpt2":
        network = GPT2LMHeadModel(GPT2Config(vocab_size=2000, n_embd=32, n_layer=3, n_head=2, n_positions=64))
    else:
        network = Gemma2ForCausalLM(
            Gemma2Config(
                vocab_size=2000,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=4,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=16,
                sliding_window=4,
                final_logit_softcapping=0.5,
                max_position_embeddings=64,
                initializer_range=0.3,
            )
        )
    return TransformersModel(network, tokenizer(), kind, "0", CPU)


@pytest.fixture(scope="module")
def llama() -> LanguageModel:
    return tiny_llama()


def expected(model: LanguageModel, layers: int, lens: nn.Module) -> torch.Tensor:
    """Logits [T, V] from the hidden states that the whole model reports."""
    with torch.inference_mode():
        states = model.model(torch.tensor([[*IDS, *REPLY[:-1]]]), output_hidden_states=True).hidden_states[layers]
        return unembed(model, last_norm(model)(lens(states)))[0, -len(REPLY) :]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_is_the_lens_on_the_state_after_its_last_layer(llama: LanguageModel, layers: int) -> None:
    lens = random_lens(32)
    cut = with_lens(llama, layers, lens, "cut", "0")
    torch.testing.assert_close(cut.score(IDS, REPLY), expected(llama, layers, lens), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2"])
def test_other_architectures_can_be_cut_too(kind: str) -> None:
    model, lens = other(kind), random_lens(32)
    cut = with_lens(model, 2, lens, "cut", "0")
    torch.testing.assert_close(cut.score(IDS, REPLY), expected(model, 2, lens), atol=1e-4, rtol=1e-4)
    _, cache = cut.prefill(IDS)
    assert len(cache.state.layers) == 2


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_unembedding_is_the_models_own_with_its_cap(kind: str, llama: LanguageModel) -> None:
    model = llama if kind == "llama" else other(kind)
    output, _ = model.prefill(IDS)
    with torch.inference_mode():
        torch.testing.assert_close(unembed(model, output.hidden), output.logits, atol=1e-4, rtol=1e-4)
    assert kind != "gemma2" or output.logits.abs().max() <= 0.5


def test_the_untrained_lens_is_the_logit_lens() -> None:
    states = torch.randn(3, 8)
    assert torch.equal(TunedLens(8)(states), states)


def test_no_weight_is_copied_and_the_lens_alone_is_new(llama: LanguageModel) -> None:
    lens = random_lens(32)
    cut = with_lens(llama, 2, lens, "cut", "0")
    own = {parameter.data_ptr() for parameter in llama.model.parameters()}
    new = [parameter for parameter in cut.model.parameters() if parameter.data_ptr() not in own]
    assert {parameter.data_ptr() for parameter in new} == {lens.weight.data_ptr(), lens.bias.data_ptr()}


def test_it_counts_the_layers_it_keeps_and_the_lens(llama: LanguageModel) -> None:
    layer = sum(parameter.numel() for parameter in llama.model.model.layers[0].parameters())
    cut = with_lens(llama, 1, TunedLens(32), "cut", "0")
    assert llama.parameters - cut.parameters == 3 * layer - (32 * 32 + 32)


def test_the_whole_model_goes_on_as_before(llama: LanguageModel) -> None:
    before, features = llama.prefill(IDS)[0], llama.features(IDS, REPLY)
    cut = with_lens(llama, 2, random_lens(32), "cut", "0")
    cut.prefill(IDS)
    assert (len(llama.model.model.layers), llama.depth, cut.depth) == (4, 4, 2)
    assert torch.equal(llama.prefill(IDS)[0].logits, before.logits)
    assert llama._hidden is not cut._hidden, "each keeps its own state"
    assert torch.equal(llama.features(IDS, REPLY), features)


def test_its_cache_grows_with_steps_forks_and_catches_up(llama: LanguageModel) -> None:
    cut = with_lens(llama, 2, random_lens(32), "cut", "0")
    whole = cut.score(IDS, [*REPLY, 7])
    _, cache = cut.prefill(IDS)
    ahead = cut.fork(cache)
    torch.testing.assert_close(
        cut.forward([(torch.tensor([REPLY]), ahead)])[0].logits[0], whole[-1], atol=1e-4, rtol=1e-4
    )
    rows = cut.expand(cache, 3)
    for t, token in enumerate(REPLY):
        output = cut.step(torch.full((3,), token), rows)
        torch.testing.assert_close(output.logits, whole[t + 1].expand(3, -1), atol=1e-4, rtol=1e-4)


def test_without_a_norm_its_states_are_those_after_the_layer(llama: LanguageModel) -> None:
    cut = first_layers(llama, 3, nn.Identity(), "states", "0")
    with torch.inference_mode():
        ids = torch.tensor([[*IDS, *REPLY[:-1]]])
        states = llama.model(ids, output_hidden_states=True).hidden_states[3][0, -len(REPLY) :]
    torch.testing.assert_close(cut.features(IDS, REPLY), states, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layers", [0, 4, -1, 30])
def test_layers_that_are_no_true_part_are_refused(llama: LanguageModel, layers: int) -> None:
    with pytest.raises(ModelError, match="`layers` must be a whole number from 1 to 3"):
        with_lens(llama, layers, TunedLens(32), "cut", "0")


@pytest.mark.parametrize("family", ["qwen3_next", "falcon_h1", "jamba", "nanochat", "xlstm"])
def test_a_family_whose_first_layers_are_no_model_is_refused_with_the_remedy(family: str) -> None:
    """Layers that need the cache of others, a norm that is used twice, a cap on the logits that is not known here."""
    model = TransformersModel(network(family), small.tokenizer(), family, "0", CPU)
    with pytest.raises(ModelError, match=f"{family} is not a plain stack of layers, .*name a small model"):
        with_lens(model, 1, random_lens(64), "cut", "0")


def test_a_model_that_is_no_plain_stack_is_refused_with_the_remedy() -> None:
    model = tiny_llama()
    model.model.model.second_stack = nn.ModuleList([nn.Identity() for _ in range(4)])
    with pytest.raises(ModelError, match="its first layers cannot stand alone; name a small model with --small-model"):
        with_lens(model, 2, TunedLens(32), "cut", "0")
