"""The forward pass of our own: transformers' numbers, the same bits in any company, prompts read once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from models import embedded, precision
from models.errors import ModelError
from models.gguf_files.reader import read
from models.gguf_files.tensors import weight_of
from models.language_model import LanguageModel
from models.llama import blocks, kernels
from models.llama.keyvalues import KeyValues
from models.llama.model import LlamaModel
from models.llama.prefixes import PIECE, Prefixes
from models.loading import load_language_model
from models.tuned_lens import TunedLens, with_lens
from playground.config import Settings
from tests.tiny_llama import tiny_folder, tokenizer

PROMPTS = ("Name a planet.", "Tell me a story about a clever dog.", "What is 12 times 12?")


@pytest.fixture(scope="module")
def fast() -> LlamaModel:
    model = load_language_model(precision="float16", cache=Settings().cache_folder)
    assert isinstance(model, LlamaModel)
    return model


def divergence(reference: Tensor, logits: Tensor) -> float:
    """The mean KL divergence in nats of softmax(logits) from softmax(reference)."""
    p, q = reference.double().log_softmax(-1), logits.double().log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def greedy(model: LanguageModel, prompt: str, count: int) -> list[int]:
    output, cache = model.prefill(model.encode_chat(prompt))
    ids = []
    for _ in range(count):
        ids.append(int(output.logits[0].argmax()))
        output = model.step(torch.tensor(ids[-1:]), cache)
    return ids


def test_half_precision_weights_are_the_model(fast: LlamaModel, embedded_model: LanguageModel) -> None:
    prompt = fast.encode_chat(PROMPTS[1])
    reply = greedy(embedded_model, PROMPTS[1], 60)
    reference = embedded_model.score(prompt, reply)
    assert divergence(reference, fast.score(prompt, reply)) < 1e-4
    torch.testing.assert_close(
        fast.features(prompt, reply), embedded_model.features(prompt, reply), atol=0.1, rtol=0.01
    )
    assert [greedy(fast, p, 30) for p in PROMPTS] == [greedy(embedded_model, p, 30) for p in PROMPTS]


@pytest.mark.parametrize("name", ["bfloat16", "int8", "gguf"])
def test_every_other_precision_stays_near_the_model(name: str, embedded_model: LanguageModel) -> None:
    model = load_language_model(precision=name, cache=Settings().cache_folder)
    assert (model.precision, isinstance(model, LlamaModel)) == (name, True)
    prompt, reply = embedded_model.encode_chat(PROMPTS[1]), greedy(embedded_model, PROMPTS[1], 60)
    distance = divergence(embedded_model.score(prompt, reply), model.score(prompt, reply))
    assert 1e-6 < distance < {"bfloat16": 0.01, "gguf": 0.01, "int8": 0.05}[name]


def test_teacher_forcing_is_decoding(fast: LlamaModel) -> None:
    prompt, reply = fast.encode_chat(PROMPTS[0]), fast.encode_text("Mars, which is red and cold.")
    output, cache = fast.prefill(prompt)
    seen = [output]
    for token in reply[:-1]:
        seen.append(fast.step(torch.tensor([token]), cache))
    torch.testing.assert_close(fast.score(prompt, reply), torch.cat([o.logits for o in seen]), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(fast.features(prompt, reply), torch.cat([o.hidden for o in seen]), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "int8", "gguf"])
def test_a_row_has_the_same_bits_in_any_company(name: str) -> None:
    model = load_language_model(precision=name, cache=Settings().cache_folder)
    assert model.merges
    assert model.rows_for(3) == 3
    tokens = torch.tensor([504, 260, 1789])

    def alone() -> list[Tensor]:
        _, cache = model.prefill(model.encode_chat(PROMPTS[0]))
        return [model.step(token[None], cache).logits[0] for token in tokens]

    expected = alone()
    for rows, others in ((2, 0), (4, 1), (1, 3), (9, 2)):
        _, cache = model.prefill(model.encode_chat(PROMPTS[0]))
        cache = model.expand(cache, rows)
        company = []
        for index in range(others):
            _, other = model.prefill(model.encode_chat(f"{PROMPTS[1]} {index} " * (index + 1)))
            company.append(model.expand(other, index + 1))
        newcomer, pieces = model.begin(model.encode_chat(f"A newcomer beside {rows} and {others}. " * 12))
        assert len(pieces) >= len(tokens)
        for place, token in enumerate(tokens):
            asks = [(torch.full((o.rows, 1), 77), o) for o in company]
            asks.append((pieces[place], newcomer))
            asks.insert(others // 2, (token.repeat(rows)[:, None], cache))
            logits = model.forward(asks)[others // 2].logits
            assert all(torch.equal(row, expected[place]) for row in logits)


def test_a_known_prefix_is_not_read_again_and_changes_no_bit(fast: LlamaModel) -> None:
    beginning = fast.encode_text("Once there was a river that nobody had named, and it was proud of that. " * 8)
    ids = [*beginning, *fast.encode_text("The end.")]
    fresh = load_language_model(precision="float16", cache=Settings().cache_folder)
    assert isinstance(fresh, LlamaModel)
    _, pieces = fresh.begin(ids)
    expected = fresh.prefill(ids)[0]
    fast.prefill(beginning)
    _, fewer = fast.begin(ids)
    assert len(pieces) == -(-len(ids) // PIECE)
    assert len(fewer) == -(-(len(ids) - len(beginning) // PIECE * PIECE) // PIECE) < len(pieces)
    for _ in range(2):  # after the beginning, and after itself
        output, cache = fast.prefill(ids)
        assert torch.equal(output.logits, expected.logits)
        assert cache.length == len(ids)


def test_a_prompt_that_was_never_read_to_its_end_gives_only_what_was_read(fast: LlamaModel) -> None:
    ids = fast.encode_text("A prompt whose visitor left after one piece had been read. " * 10)
    cache, pieces = fast.begin(ids)
    fast.forward([(pieces[0], cache)])
    again, rest = fast.begin(ids)
    assert again.length == PIECE
    assert sum(piece.numel() for piece in rest) == len(ids) - PIECE


def test_a_pass_that_fails_after_the_layers_has_advanced_no_cache(
    fast: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, cache = fast.prefill(fast.encode_chat(PROMPTS[0]))
    token, length = output.logits.argmax(-1), cache.length
    expected = fast.step(token, fast.fork(cache)).logits
    with monkeypatch.context() as patch:
        patch.setattr(fast.network, "unembed", lambda hidden: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            fast.step(token, cache)
    assert cache.length == length
    assert torch.equal(fast.step(token, cache).logits, expected)


def test_kept_prefixes_are_bounded_and_the_least_used_goes_first() -> None:
    def held(rows: int = 1) -> KeyValues:
        return KeyValues(torch.zeros(2, 2, rows, 1, 4 * PIECE, 8), 4 * PIECE)

    size = held().values.numel() * 4
    kept = Prefixes(room=2 * size)
    prompts = [[number] * (4 * PIECE) for number in range(3)]
    kept.keep(prompts[0], held())
    kept.keep(prompts[1], held(rows=3).expand(1))
    assert kept.known(prompts[0]) is not None  # now 1 is the least recently used
    kept.keep(prompts[2], held())
    assert kept.known(prompts[1]) is None
    found = kept.known([*prompts[0][:-1], 9, 9])
    assert found is not None
    assert (found.length, found.rows) == (3 * PIECE, 1)


def test_caches_fork_select_and_grow_apart() -> None:
    cache = KeyValues(torch.arange(16.0).view(2, 2, 1, 1, 4, 1), 3)
    twin = cache.fork()
    cache.expand(3).select([0, 2])
    cache.reserve(100)
    assert (cache.rows, twin.rows, cache.length) == (2, 1, 3)
    assert cache.capacity >= 103
    twin.values[..., :3, :] = -1
    assert torch.equal(cache.values[:, :, 1, 0, :3, 0], torch.arange(16.0).view(2, 2, 4)[..., :3])


FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None, "tie_word_embeddings": False}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 32, "tie_word_embeddings": False}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_common_families_give_transformers_numbers(family: str, tmp_path: Path) -> None:
    config, network, options = FAMILIES[family]
    sizes = {"vocab_size": 49152, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built = network(config(**sizes, **heads, initializer_range=0.2, **options))
        for name, parameter in built.named_parameters():
            if "norm" in name or "bias" in name:
                nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.3)
    built.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    reference = load_language_model(str(tmp_path), precision="float32")
    model = load_language_model(str(tmp_path), precision="float16")
    assert isinstance(model, LlamaModel)
    assert (model.parameters, model.depth, model.vocab_size) == (reference.parameters, 3, 49152)
    prompt, reply = model.encode_chat("Name a city."), model.encode_text("Rome wasn't built in a day, they say.")
    torch.testing.assert_close(model.score(prompt, reply), reference.score(prompt, reply), atol=0.08, rtol=0.01)
    _, cache = model.prefill(prompt)
    cache = model.expand(cache, 3)
    step = model.step(torch.full((3,), reply[0]), cache)
    torch.testing.assert_close(step.logits[2], model.score(prompt, reply)[1], atol=1e-3, rtol=1e-4)


def test_scaled_rotary_embeddings_are_transformers(tmp_path: Path) -> None:
    scaled = {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    }
    tiny_folder(tmp_path, **scaled)
    model = load_language_model(str(tmp_path), precision="float16")
    reference = load_language_model(str(tmp_path), precision="float32")
    ids = model.encode_text("far " * 100)
    torch.testing.assert_close(model.score(ids, ids[:20]), reference.score(ids, ids[:20]), atol=0.02, rtol=0.01)


def test_what_it_cannot_run_goes_to_transformers_or_is_refused(tmp_path: Path) -> None:
    tiny_folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))
    model = load_language_model(str(tmp_path))
    assert (model.precision, model.merges) == ("float32", False)
    assert "its activation is gelu" in model.precision_reason
    with pytest.raises(
        ModelError, match="cannot run as float16, since its activation is gelu; choose auto, float32 or"
    ):
        load_language_model(str(tmp_path), precision="float16")
    assert load_language_model(str(tmp_path), precision="bfloat16").precision == "bfloat16"
    for extra, why in (
        ({"attention_bias": True}, "has a bias"),
        ({"mlp_bias": True}, "has a bias"),
        (
            {"rope_parameters": {**config["rope_parameters"], "partial_rotary_factor": 0.5}},
            "rotary embedding is partial",
        ),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **extra}))
        with pytest.raises(ModelError, match=why):
            load_language_model(str(tmp_path), precision="float16")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="has no GGUF file"):
        load_language_model(str(tmp_path), precision="gguf")


def test_the_choice_of_precision_is_measured_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "model", tmp_path / "cache"
    folder.mkdir()
    tiny_folder(folder)
    times = {"gguf": 0.05, "float16": 2.0, "bfloat16": 1.7, "float32": 9.0}
    monkeypatch.setattr(precision, "seconds", lambda sides, names: {name: times[name] for name in names})
    model = load_language_model(str(folder), cache=cache)
    assert model.precision == "float16"  # bfloat16 is not faster by enough, and there is no GGUF file here
    assert "bfloat16 1700.00 ms" in model.precision_reason
    times["float32"] = 0.1
    assert load_language_model(str(folder), cache=cache).precision == "float16"  # remembered
    assert load_language_model(str(folder), cache=tmp_path / "another").precision == "float32"


def test_blocks_are_the_values_of_the_file() -> None:
    path = embedded.gguf_file(Settings().cache_folder)
    stored = read(path).tensors
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert list(stored) == list(theirs)
    for name, bits in (("blk.3.ffn_down.weight", 4), ("token_embd.weight", 8)):
        weight = weight_of(stored[name])
        assert isinstance(weight, blocks.Blocks)
        assert weight.bits == bits
        values = torch.from_numpy(gguf.dequantize(theirs[name].data, theirs[name].tensor_type).copy())
        torch.testing.assert_close(weight.dense(), values, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_each_block_format_is_read_as_the_format_says(kind: str) -> None:
    weight = torch.randn(8, 96, generator=torch.Generator().manual_seed(3))
    raw = gguf.quantize(weight.numpy(), gguf.GGMLQuantizationType[kind])
    values = torch.from_numpy(gguf.dequantize(raw, gguf.GGMLQuantizationType[kind]).copy())
    ours = blocks.from_bytes(torch.from_numpy(raw.copy()), kind)
    torch.testing.assert_close(ours.dense(), values, atol=1e-6, rtol=1e-6)
    assert torch.equal(ours.rows(torch.tensor([5, 1])).dense(), ours.dense()[[5, 1]])


@pytest.mark.parametrize("name", kernels.PRECISIONS)
def test_a_kernel_is_its_matrix(name: str) -> None:
    generator = torch.Generator().manual_seed(4)
    weight, rows = torch.randn(64, 96, generator=generator), torch.randn(5, 96, generator=generator)
    given: kernels.Weight = weight
    if name == "gguf":
        raw = gguf.quantize(weight.numpy(), gguf.GGMLQuantizationType.Q4_1)
        given = blocks.from_bytes(torch.from_numpy(raw.copy()), "Q4_1")
        weight = given.dense()
    assert kernels.available(name)
    error = (kernels.kernel(given, name)(rows).float() - rows @ weight.T).abs().max()
    assert error < {"float16": 0.02, "bfloat16": 0.2, "int8": 0.5, "gguf": 0.2}[name]


def test_sums_that_depend_on_the_company_are_noticed() -> None:
    weight = torch.randn(576, 1536, generator=torch.Generator().manual_seed(6))
    rounded = weight.bfloat16()
    assert kernels.same_bits(kernels.kernel(weight, "bfloat16"), 1536)
    assert not kernels.same_bits(lambda x: x @ weight.T * (1 + 1e-3 * (len(x) > 4)), 1536)
    assert not kernels.same_bits(lambda x: (x.bfloat16() @ rounded.T) + (len(x) % 2) * 1e-2, 1536)


def test_a_processor_without_the_operator_does_not_offer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_int8", lambda weight: (_ for _ in ()).throw(RuntimeError("not on this processor")))
    assert not kernels.available("int8")
    with pytest.raises(ModelError, match="no int8 arithmetic for this processor; choose auto or float32"):
        load_language_model(precision="int8", cache=Settings().cache_folder)


def test_its_first_layers_with_a_lens_are_those_of_transformers(
    fast: LlamaModel, embedded_model: LanguageModel
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        lens = TunedLens(fast.hidden_size)
        nn.init.normal_(lens.bias, std=0.1)
    ours, theirs = (with_lens(model, 12, lens, "cut", "0") for model in (fast, embedded_model))
    assert ours.position_bytes * 30 == fast.position_bytes * 12
    assert fast.position_bytes == embedded_model.position_bytes
    assert (ours.depth, ours.parameters, ours.name) == (12, theirs.parameters, "cut")
    prompt, reply = ours.encode_chat(PROMPTS[0]), ours.encode_text("Jupiter is the largest.")
    assert divergence(theirs.score(prompt, reply), ours.score(prompt, reply)) < 1e-3
    assert fast.depth == 30
    with pytest.raises(ModelError, match="from 1 to 29, got 30"):
        with_lens(fast, 30, lens, "cut", "0")


def test_the_tokenizer_is_the_reference_models(fast: LlamaModel, embedded_model: LanguageModel) -> None:
    assert (fast.end_ids, fast.context_length) == (embedded_model.end_ids, embedded_model.context_length)
    assert isinstance(fast.tokenizer, type(AutoTokenizer.from_pretrained(embedded.folder(Settings().cache_folder))))
    assert fast.encode_chat("In 1969.") == embedded_model.encode_chat("In 1969.")
    assert fast.model.config.num_hidden_layers == fast.depth
