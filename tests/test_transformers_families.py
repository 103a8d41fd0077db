"""Every family that transformers runs: its tokens are `generate`'s, in any company, however prompts are shared or joined.

The right values come from transformers: `generate` for what is decoded; what is decoded alone for everything else.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CONFIG_MAPPING

from benchmarks.small.families import CONTEXT, FAMILIES
from benchmarks.small.folders import folder, network
from benchmarks.small.tokens import SIZE, tokenizer
from models.errors import ModelError
from models.families import BOUND, context_length, refused
from models.loading import load_language_model
from models.transformers_model import TransformersModel
from playground.decoding import engine
from playground.decoding.decoders import best_of_n, long_horizon, power_sampling
from playground.decoding.policies import fixed, kl_guided
from playground.decoding.policies.base import Resources
from playground.decoding.policies.spec import Spec, parse
from playground.decoding.trace import Finished, Request
from tests.test_kl_guided import no_head

DENSE = ("llama", "gpt2", "gptj", "bloom", "mpt", "falcon-alibi", "opt", "openai-gpt", "cohere", "granite")
WINDOWED = ("mistral-window", "gemma2", "gemma3", "cohere2", "exaone4")
EXPERTS = ("mixtral", "gpt_oss", "granitemoe", "deepseek_v3", "llama4")
RECURRENT = (
    *("mamba", "mamba2", "falcon_mamba", "rwkv", "recurrent_gemma", "xlstm", "lfm2", "jamba", "bamba", "falcon_h1"),
    *("qwen3_next", "zamba2", "nemotron_h", "granitemoehybrid", "minimax", "minimax-window"),
)
STRETCHED = ("phi3-longrope", "phimoe-longrope", "llama-longrope", "llama-dynamic")
ALL = (*DENSE, *WINDOWED, *EXPERTS, *RECURRENT, *STRETCHED)
CACHE_FAILS = (
    "xlstm",
    "minimax-window",
)  # in transformers: one raises, one has other logits than without beyond its window
PROMPT, OTHER, COUNT = list(range(60, 72)), list(range(90, 69, -1)), 40  # beyond every window, which is 16 or 32
NOISE = 2e-3  # of a logit, which float32 explains; logits spread over some units


@functools.cache
def loaded(family: str) -> TransformersModel:
    return TransformersModel(unread(family), tokenizer(), family, "small", torch.device("cpu"))


def unread(family: str) -> Any:
    """A model that nothing has been read with; an original context of 24 tokens where it reads on by other angles."""
    if family == "llama-dynamic":
        return network(family, max_position_embeddings=24)
    if "longrope" not in family:
        return network(family)
    changes: dict[str, Any] = {"original_max_position_embeddings": 24}
    return network(
        family,
        rope_parameters=FAMILIES[family].options["rope_parameters"] | changes,
        **changes if "phi3" in family else {},
    )


def decoded(model: TransformersModel, prompt: list[int], count: int = COUNT) -> tuple[list[int], Tensor, Tensor]:
    """Greedy tokens of one lane, their logits [T, V] and states [T, H]."""
    output, cache = model.prefill(prompt)
    rows = model.rows_for(1)
    cache = model.expand(model.fork(cache), rows)
    logits, hidden, ids = [output.logits[0]], [output.hidden[0]], [int(output.logits.argmax())]
    while len(ids) < count:
        output = model.step(torch.full((rows,), ids[-1]), cache)
        logits.append(output.logits[0])
        hidden.append(output.hidden[0])
        ids.append(int(output.logits[0].argmax()))
    return ids, torch.stack(logits), torch.stack(hidden)


@functools.cache
def alone(family: str) -> tuple[list[int], Tensor, Tensor]:
    return decoded(loaded(family), PROMPT)


@pytest.mark.parametrize("family", ALL)
def test_greedy_tokens_are_those_of_generate(family: str) -> None:
    ids = torch.tensor([PROMPT])
    expected = unread(family).generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=COUNT,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=family not in CACHE_FAILS,
    )
    assert alone(family)[0] == expected[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize("family", ALL)
def test_every_lane_of_four_has_the_bits_it_has_alone(family: str) -> None:
    replies = torch.arange(4)[:, None] * 37 % SIZE + torch.arange(8)  # other tokens in every lane, always
    together = forced(loaded(family), replies)
    for lane, reply in enumerate(replies):
        assert torch.equal(forced(loaded(family), reply[None])[0], together[lane])


def forced(model: TransformersModel, replies: Tensor) -> Tensor:
    """The logits [B, T, V] of lanes that are fed these replies [B, T], filled up as the decoders fill a step."""
    count = len(replies)
    rows = model.rows_for(count)
    cache = model.expand(model.fork(model.prefill(PROMPT)[1]), rows)
    fed = torch.cat([replies, replies[:1].expand(rows - count, -1)])
    return torch.stack([model.step(tokens, cache).logits[:count] for tokens in fed.T], dim=1)


@pytest.mark.parametrize("family", ALL)
def test_scores_and_states_are_those_of_decoding(family: str) -> None:
    ids, logits, hidden = alone(family)
    model = loaded(family)
    torch.testing.assert_close(model.score(PROMPT, ids), logits, atol=NOISE, rtol=0)
    torch.testing.assert_close(model.features(PROMPT, ids), hidden, atol=NOISE, rtol=0)


def test_a_window_that_a_family_does_not_know_is_none() -> None:
    plain, other = (TransformersModel(network("gpt_neox"), tokenizer(), "x", "x", torch.device("cpu")) for _ in "12")
    other.model.config.sliding_window = 4
    named = TransformersModel(other.model, tokenizer(), "x", "x", torch.device("cpu"))
    assert decoded(named, PROMPT)[0] == decoded(plain, PROMPT)[0]
    assert named.joins


@pytest.mark.parametrize("family", ALL)
def test_forks_grow_apart(family: str) -> None:
    model = loaded(family)
    _, cache = model.prefill(PROMPT)
    first, second = model.expand(model.fork(cache), 1), model.expand(model.fork(cache), 1)
    for token in (7, 8):
        model.step(torch.tensor([token]), first)
    here, untouched = (model.step(torch.tensor([9]), row).logits for row in (second, model.expand(cache, 1)))
    assert torch.equal(here, untouched)
    assert not torch.allclose(model.step(torch.tensor([9]), first).logits, here, atol=NOISE)


@pytest.mark.parametrize("family", ALL)
def test_chosen_rows_go_on_from_what_they_read(family: str) -> None:
    model = loaded(family)
    cache = model.expand(model.prefill(PROMPT)[1], 3)
    model.step(torch.tensor([5, 6, 7]), cache)
    cache = model.select(cache, [2, 0, 2])
    found = model.step(torch.tensor([8, 8, 9]), cache).logits
    for row, reply in zip(found, ([7, 8], [5, 8], [7, 9]), strict=True):
        torch.testing.assert_close(row, model.score(PROMPT, [*reply, 0])[-1], atol=NOISE, rtol=0)


@pytest.mark.parametrize("family", ALL)
def test_several_tokens_behind_a_cache_are_read_one_after_the_other(family: str) -> None:
    model = loaded(family)
    ids, logits, _ = alone(family)
    _, cache = model.prefill(PROMPT)
    output = model.forward([(torch.tensor([ids[:5]]), model.fork(cache))])[0]
    torch.testing.assert_close(output.logits[0], logits[5], atol=NOISE, rtol=0)


@pytest.mark.parametrize("family", ALL)
def test_prompts_of_different_lengths_share_steps(family: str) -> None:
    model = loaded(family)
    expected = [decoded(model, prompt, 16) for prompt in (PROMPT, OTHER)]
    cache = model.join([model.prefill(prompt)[1] for prompt in (PROMPT, OTHER)], [2, 1])
    for step in range(15):
        tokens = torch.tensor([expected[0][0][step], 11, expected[1][0][step]])
        logits = model.step(tokens, cache).logits
        for row, (_, said, _) in zip(logits[[0, 2]], expected, strict=True):
            torch.testing.assert_close(row, said[step + 1], atol=NOISE, rtol=0)


@pytest.mark.parametrize("family", STRETCHED)
def test_what_was_read_before_changes_nothing(family: str) -> None:
    model = loaded(family)
    before = model.score(PROMPT, [1, 2, 3])
    model.score(list(range(70)), [1, 2, 3])
    assert torch.equal(model.score(PROMPT, [1, 2, 3]), before)
    decoded(model, OTHER, 30)
    assert torch.equal(model.score(PROMPT, [1, 2, 3]), before)


@pytest.mark.parametrize(
    ("family", "length"),
    [
        ("llama", CONTEXT),
        ("gpt2", CONTEXT),  # n_positions
        ("mpt", 2048),  # max_seq_len
        ("rwkv", CONTEXT),  # context_length
        ("llama-dynamic", 2 * CONTEXT),
        ("phi3-longrope", CONTEXT),
        ("bloom", BOUND),
        ("mamba", BOUND),
        ("recurrent_gemma", BOUND),
        ("xlstm", BOUND),
    ],
)
def test_a_length_is_named_by_the_configuration_or_bounded(family: str, length: int) -> None:
    assert context_length(FAMILIES[family].config()) == length
    said = "names no length" in " ".join(loaded(family).family.notes)
    assert said == (length == BOUND)


REFUSED = {
    "t5": "t5 is an encoder–decoder",
    "bart": "bart is an encoder–decoder",
    "whisper": "whisper is an encoder–decoder",
    "bert": "bert is a masked language model",
    "roberta": "roberta is a masked language model",
    "modernbert": "no causal language model of the type modernbert",
    "llava": "no causal language model of the type llava",
    "diffusion_gemma": "no causal language model of the type diffusion_gemma",
    "git": "git describes pictures",
    "xlnet": "xlnet predicts masked places",
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_other_kinds_of_model_are_refused_before_weights_are_read(kind: str, precision: str, tmp_path: Path) -> None:
    CONFIG_MAPPING[kind]().save_pretrained(tmp_path)
    save_file({"no.part.of.it": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=REFUSED[kind]) as caught:
        load_language_model(str(tmp_path), precision=precision)
    assert str(caught.value).endswith("; choose a causal language model of text.")


def test_a_masked_model_made_to_decode_is_not_refused() -> None:
    assert refused(CONFIG_MAPPING["bert"](is_decoder=True)) == ""
    assert refused(CONFIG_MAPPING["gpt_neox"]()) == ""


@pytest.mark.parametrize("family", ["lfm2", "mixtral", "rwkv", "mistral-window"])
def test_a_trace_is_the_same_beside_other_policies(family: str) -> None:
    kinds = (fixed.KIND, kl_guided.KIND, best_of_n.KIND, long_horizon.KIND, power_sampling.KIND)
    specs = [parse(spec, kinds) for spec in ("fixed", "kl-guided", "best-of-n:n=2", "long-horizon:particles=3")]
    specs.append(parse("power-sampling:moves=1", kinds))
    request = Request("Name a planet.", seed=3, max_tokens=8, source="The river ran past an old town.")

    def traces(chosen: list[Spec]) -> list[str]:
        rows = engine.rows_of(request, chosen)
        (*_, end) = engine.stream(loaded(family), request, rows, Resources(no_head))
        assert isinstance(end, Finished)
        return [trace.id for trace in end.traces]

    assert traces(specs) == [trace for spec in specs for trace in traces([spec])]


def test_what_transformers_runs_in_float32_alone_is_refused_otherwise(tmp_path: Path) -> None:
    """transformers' xLSTM fails in bfloat16 as soon as a text has 64 tokens: refused before anything is decoded."""
    where = str(folder(tmp_path, "xlstm"))
    with pytest.raises(ModelError, match="cannot run as bfloat16, since transformers multiplies float32"):
        load_language_model(where, precision="bfloat16")
    assert load_language_model(where, precision="float32").prefill(range(3, 90))[0].logits.isfinite().all()
