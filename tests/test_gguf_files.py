"""GGUF files against llama.cpp, the reference for them: the same tokens and probabilities, or a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from torch import Tensor

from benchmarks.small.families import LLAMA3
from benchmarks.small.gguf_files import gguf_file
from benchmarks.yardsticks.llama_reference import LlamaReference
from models.errors import ModelError
from models.gguf_files import tensors
from models.gguf_files.model import GgufModel
from models.language_model import LanguageModel
from models.llama.model import LlamaModel
from models.loading import load_language_model

PROMPT = [5, 60, 70, 80, 33, 150, 200, 9, 10, 11] * 4
TOKENS = 24


@pytest.fixture(scope="module")
def llama_cpp() -> Iterator[LlamaReference]:
    server = LlamaReference()
    yield server
    server.close()


def load(path: Path, precision: str = "float32") -> LanguageModel:
    return load_language_model(str(path), precision=precision, cache=path.parent / "cache", threads=1)


def refusal(path: Path, precision: str = "float32") -> str:
    with pytest.raises(ModelError) as caught:
        load(path, precision)
    assert str(caught.value).count("\n") == 0
    return str(caught.value)


def reference(llama_cpp: LlamaReference, path: Path, prompt: Sequence[int] = PROMPT, context: int = 512) -> Tensor:
    """llama.cpp's log-probabilities [T, V] of its greedy reply."""
    return llama_cpp.logprobs(path, [(prompt, TOKENS)], context)[0].double()


def found(model: LanguageModel, reply: Tensor, prompt: Sequence[int] = PROMPT) -> Tensor:
    """Our log-probabilities [T, V] of that reply."""
    return torch.log_softmax(model.score(prompt, reply.argmax(-1).tolist()).double(), -1)


def divergence(theirs: Tensor, ours: Tensor) -> float:
    return float((theirs.exp() * (theirs - ours)).sum(-1).max())


def agree(theirs: Tensor, ours: Tensor, margin: float) -> bool:
    """Whether the greedy tokens are the same, but for those that are no likelier than the next by `margin` in the reference."""
    chosen = theirs.gather(-1, ours.argmax(-1, keepdim=True))[:, 0]
    return bool((theirs.amax(-1) - chosen <= margin).all())


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize(
    "family", ["llama-tied", "llama-odd", "qwen2", "qwen3", "llama-llama3", "llama-linear", "llama-yarn", "qwen2-yarn"]
)
def test_a_file_is_the_model_that_llama_cpp_runs(
    tmp_path: Path, llama_cpp: LlamaReference, family: str, precision: str
) -> None:
    path = gguf_file(tmp_path / "m.gguf", family)
    theirs, model = reference(llama_cpp, path), load(path, precision)
    assert isinstance(model, LlamaModel) == (precision == "float16")
    ours = found(model, theirs)
    assert divergence(theirs, ours) < {"float32": 1e-5, "float16": 1e-3}[precision]
    assert agree(theirs, ours, {"float32": 1e-3, "float16": 0.05}[precision])


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("llama-bias", {}),
        ("mixtral", {}),
        ("mixtral", LLAMA3),
        ("qwen2_moe", {}),
        ("qwen3_moe", {}),
        ("gemma", {}),
        ("gemma2", {}),
        ("gemma3", {}),
        ("granite", {}),
        ("olmo2", {}),
        ("smollm3", {}),
        ("phi3", {}),
        ("starcoder2", {}),
        ("stablelm", {}),
        ("stablelm", {"use_parallel_residual": True, "use_qkv_bias": True}),
        ("nemotron", {}),
        ("gpt2", {}),
        ("gpt2", {"tie_word_embeddings": False}),
    ],
)
def test_architectures_that_transformers_runs_are_those_of_llama_cpp(
    tmp_path: Path, llama_cpp: LlamaReference, family: str, said: dict[str, Any]
) -> None:
    """Longer than their windows, and with everything that their metadata says beside the sizes."""
    path = gguf_file(tmp_path / "m.gguf", family, **said)
    theirs = reference(llama_cpp, path)
    ours = found(load(path), theirs)
    assert divergence(theirs, ours) < 1e-5
    assert agree(theirs, ours, 1e-3)


@pytest.mark.parametrize(("context", "times"), [(256, 1), (512, 7)])
def test_factors_for_long_texts_are_those_of_the_length(
    tmp_path: Path, llama_cpp: LlamaReference, context: int, times: int
) -> None:
    """llama.cpp takes the long ones where its context is longer than the original one; here the text must be."""
    said = {"phi3.rope.scaling.original_context_length": 256, "phi3.context_length": 512}
    path = gguf_file(tmp_path / "m.gguf", "phi3-longrope", metadata=said)
    theirs = reference(llama_cpp, path, PROMPT * times, context)
    assert divergence(theirs, found(load(path), theirs, PROMPT * times)) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("gemma3", {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0}),
        ("gemma3", {"rope.freq_base": 1e6, "rope.freq_base_swa": 500.0}),
        ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
        ("granite", {"attention.scale": None}),
        ("phi3", {"attention.sliding_window": 16}),
        ("phi3", {"rope.dimension_count": 8}),
        ("nemotron", {"rope.dimension_count": 4}),
        ("smollm3", {"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0}),
    ],
)
def test_what_other_architectures_say_is_obeyed(
    tmp_path: Path, llama_cpp: LlamaReference, architecture: str, said: dict[str, Any]
) -> None:
    path = gguf_file(tmp_path / "m.gguf", architecture, metadata={f"{architecture}.{key}": said[key] for key in said})
    theirs = reference(llama_cpp, path)
    assert divergence(theirs, found(load(path), theirs)) < 1e-5


@pytest.mark.parametrize(
    ("family", "said", "why"),
    [
        ("gemma3", {"gemma3.attention.sliding_window_pattern": 3}, "sliding_window_pattern is 3"),
        ("gemma3", {"gemma3.final_logit_softcapping": 5.0}, "final_logit_softcapping is 5.0"),
        ("qwen2_moe", {"qwen2moe.expert_weights_scale": 2.5}, "expert_weights_scale changes the model"),
        ("mixtral", {"llama.expert_gating_func": 2}, "expert_gating_func changes the model"),
        ("phi3", {"phi3.rope.scaling.type": "linear"}, "rope.scaling.type is 'linear'"),
        ("qwen3", {"qwen3.attention.sliding_window": 16}, "attention.sliding_window is 16"),
    ],
)
def test_what_other_architectures_say_and_is_not_read_is_named(
    tmp_path: Path, family: str, said: dict[str, Any], why: str
) -> None:
    assert why in refusal(gguf_file(tmp_path / "m.gguf", family, metadata=said))


def test_a_tensor_that_would_be_dropped_is_named(tmp_path: Path) -> None:
    assert "m.gguf holds rope_freqs.weight, which is not read here" in refusal(
        gguf_file(tmp_path / "m.gguf", "qwen3", **LLAMA3)
    )


@pytest.mark.parametrize(
    "said",
    [
        {"rope.scaling.factor": 4.0},  # linear where no type is said
        {"rope.scale_linear": 4.0},  # its older name
        {"rope.scaling.type": "none", "rope.scaling.factor": 4.0},
        {"rope.freq_base": 500.0},
        {"rope.freq_base": None},
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0},  # the original context is the context
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32},
        {"attention.layer_norm_rms_epsilon": 0.5},
    ],
)  # fmt: skip
def test_what_the_metadata_says_is_obeyed(tmp_path: Path, llama_cpp: LlamaReference, said: dict[str, Any]) -> None:
    path = gguf_file(tmp_path / "m.gguf", metadata={f"llama.{key}": value for key, value in said.items()})
    theirs = reference(llama_cpp, path)
    ours = found(load(path), theirs)
    assert divergence(theirs, ours) < 1e-5
    assert agree(theirs, ours, 1e-3)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"llama.rope.scaling.type": "longrope"}, "llama.rope.scaling.type is 'longrope'"),
        ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count is 8 for heads of 16"),
        ({"llama.attention.value_length": 8}, "llama.attention.value_length differs from that of keys"),
        ({"llama.attention.causal": False}, "llama.attention.causal is False"),
        ({"llama.attention.scale": 0.5}, "llama.attention.scale changes the model"),
        ({"llama.logit_scale": 0.5}, "llama.logit_scale changes the model"),
        ({"llama.final_logit_softcapping": 30.0}, "llama.final_logit_softcapping changes the model"),
        ({"llama.attention.sliding_window": 16}, "llama.attention.sliding_window changes the model"),
        ({"llama.expert_count": 4}, "llama.expert_used_count is missing"),
        ({"llama.attention.head_count_kv": [2, 1, 2]}, "llama.attention.head_count_kv differs from layer to layer"),
        ({"llama.attention.head_count": 0}, "llama.attention.head_count must be a whole number"),
        ({"llama.block_count": 2**31}, "llama.block_count is 2147483648"),
        ({"llama.context_length": None}, "llama.context_length is missing"),
        ({"llama.rope.freq_base": "high"}, "llama.rope.freq_base must be a number"),
        ({"llama.feed_forward_length": 97}, "its configuration asks for [64, 97]"),
        ({"llama.block_count": 4}, "lacks the tensor model.layers.3"),
        ({"llama.block_count": 2}, "holds the tensor model.layers.2"),
        ({"llama.embedding_length": 65}, "holds no token_embd.weight of 65 columns"),
    ],
)  # fmt: skip
def test_what_the_metadata_says_and_is_not_read_is_named(tmp_path: Path, said: dict[str, Any], why: str) -> None:
    assert why in refusal(gguf_file(tmp_path / "m.gguf", metadata=said))


def test_another_architecture_is_refused_by_its_name(tmp_path: Path) -> None:
    sentence = refusal(gguf_file(tmp_path / "m.gguf", "mamba"))
    assert sentence == (
        "m.gguf is of the architecture 'mamba', whose GGUF files are not read exactly here; use the model's safetensors folder."
    )


@pytest.mark.parametrize(
    "kind",
    ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"],
)
def test_every_format_is_unpacked_as_llama_cpp_does(tmp_path: Path, llama_cpp: LlamaReference, kind: str) -> None:
    """llama.cpp quantises what its quantised maps read, so its own noise is what a small model's numbers differ by."""
    path = gguf_file(tmp_path / "m.gguf", kind=kind)
    theirs = reference(llama_cpp, path)
    ours = found(load(path), theirs)
    assert divergence(theirs, ours) < (1e-4 if kind == "F16" else 0.1)
    assert agree(theirs, ours, 0.01 if kind == "F16" else 0.5)


def test_blocks_of_four_bits_run_as_they_are(tmp_path: Path, llama_cpp: LlamaReference) -> None:
    path = gguf_file(tmp_path / "m.gguf", "llama-llama3", kind="Q4_1")
    theirs, model = reference(llama_cpp, path), load(path, "gguf")
    assert model.precision == "gguf"
    ours = found(model, theirs)
    assert divergence(theirs, ours) < 0.1
    assert agree(theirs, ours, 0.5)
    assert not (path.parent / "cache" / tensors.KEPT).exists()


def test_what_was_unpacked_is_kept_small_and_made_again_where_it_is_damaged(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "m.gguf", kind="Q6_K")
    first = load(path, "float16").score(PROMPT, PROMPT)
    (kept,) = (tmp_path / "cache" / tensors.KEPT).iterdir()
    numbers = sum(stored.data.size for stored in gguf.GGUFReader(path).tensors if stored.tensor_type.name == "Q6_K")
    assert kept.stat().st_size < 2.2 * numbers / 210 * 256
    for damaged in (b"", kept.read_bytes()[:-100], b"not safetensors"):
        kept.write_bytes(damaged)
        assert torch.equal(load(path, "float16").score(PROMPT, PROMPT), first)
    assert torch.equal(load(path, "float16").score(PROMPT, PROMPT), first)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q5_0", "Q8_0", "Q6_K"])
def test_what_is_no_block_of_four_bits_is_never_called_one(tmp_path: Path, kind: str) -> None:
    path = gguf_file(tmp_path / "m.gguf", kind=kind)
    assert "m keeps no linear map as Q4_0 or Q4_1" in refusal(path, "gguf")
    model = load(path, "auto")
    assert model.precision != "gguf"
    assert "gguf" not in model.precision_reason


def test_maps_that_do_not_run_as_blocks_are_counted(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "m.gguf", kind="Q4_0", num_hidden_layers=3)
    assert "gguf" in load(path, "auto").precision_reason
    file = GgufModel(path, tmp_path, "r")
    assert file.in_blocks() == (13, 13)
    assert file.blocks_said() == ""
    for name, layers in (("output.weight", True), ("blk.1.attn_v.weight", False)):
        tensors = file.tensors
        file.tensors = {**tensors, name: replace(tensors[name], format="Q8_0")}
        assert file.blocks_said() == " Of its linear maps, 12 of 13 run as 4-bit blocks, the others as float16."
        assert file.layers_in_blocks() == layers
        file.tensors = tensors
