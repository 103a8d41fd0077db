"""A part of the table of families: what models.llama runs and what transformers runs, beside the reference of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.families import COMMAND, DOCUMENT, OWN, THEIRS, Case, Found, cases, examined, result
from benchmarks.measure.agreement import Agreement, Text, compared
from benchmarks.small.folders import folder, network
from benchmarks.yardsticks.llama_reference import LlamaReference
from benchmarks.yardsticks.transformers_logits import TransformersLogits
from models.loading import load_language_model

PROMPTS, LENGTH = 3, 8


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaReference]:
    pytest.importorskip("xllamacpp")
    logits = LlamaReference()
    yield logits
    logits.close()


@pytest.mark.parametrize("family", ["llama", "llama-three", "llama-yarn", "qwen2", "qwen3-tied"])
def test_what_our_own_network_runs_is_what_transformers_generates(family: str) -> None:
    found = examined(Case(family), LlamaReference(), PROMPTS, LENGTH)
    assert found.faults == []
    assert set(found.agreements) == {(THEIRS, "float32"), *((OWN, name) for name in ("float16", "bfloat16", "int8"))}
    assert list(found.refused) == ["gguf"]
    assert {agreement.lanes for agreement in found.agreements.values()} == {"same bits"}


@pytest.mark.parametrize("family", ["gemma2", "mistral-window"])
def test_what_transformers_runs_is_what_it_generates(family: str) -> None:
    found = examined(Case(family), LlamaReference(), PROMPTS, LENGTH, ("float32", "int8"))
    assert found.faults == []
    assert list(found.agreements) == [(THEIRS, "float32")]
    assert list(found.refused) == ["int8"]


@pytest.mark.parametrize("kind", ["F16", "Q4_0", "Q4_1", "Q4_K"])
def test_what_a_gguf_file_decodes_is_what_llama_cpp_decodes(kind: str, llama: LlamaReference) -> None:
    found = examined(Case("llama", kind), llama, PROMPTS, LENGTH, ("float16", "gguf"))
    assert (found.faults, found.reference) == ([], "llama.cpp")
    assert all(path == OWN for path, _ in found.agreements)
    assert found.agreements


def test_the_document_lists_every_case_and_no_silent_difference() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    listed = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")}
    assert {case.name for case in cases(quick=False)} <= listed
    assert "Silent differences and failures: 0." in text
    assert f"Made by `{COMMAND}`" in text


def test_a_model_that_is_not_its_reference_is_named_and_fails_the_command() -> None:
    good, bad = (Agreement(0.1, 20 - parted, 0, parted, 0.01, 0.01, "same bits", 0.01) for parted in (0, 2))
    assert result([Found(Case("llama"), {(OWN, "float16"): good})]).failed == ""
    found = Found(Case("qwen2"), {(OWN, "float16"): bad}, faults=[f"float16: {bad.faults()[0]}"])
    assert result([found]).failed.startswith("1 of the examined runs")
    assert "qwen2, float16: 2 replies part without a tie." in result([found]).notes


def noisy(family: str, seed: int, prompt: list[int], reply: list[int]) -> Text:
    reference = TransformersLogits(network(family, seed))
    logits = reference.logits(prompt, reply)
    return Text(prompt, reply, logits, reference.moved("float16", prompt, reply), logits)


@pytest.mark.parametrize("layer", [0, 2])
def test_another_model_than_the_reference_is_not_excused_as_noise(layer: int, tmp_path: Path) -> None:
    """One head of one layer is turned off; the same comparison with nothing changed finds nothing."""
    prompt, reply = list(range(3, 23)), list(range(40, 72))
    given = noisy("llama", 0, prompt, reply)
    greedy = TransformersLogits(network("llama")).logits(prompt, 16)
    said = Text(prompt, greedy.argmax(-1).tolist(), greedy, given.moved[:16], greedy)

    def found() -> Agreement:
        return compared(load_language_model(str(where), precision="float16"), [said], given, [given], shifted=False)

    where = folder(tmp_path, "llama")
    assert found().faults() == []
    changed = network("llama")
    with torch.no_grad():
        changed.model.layers[layer].self_attn.o_proj.weight[:, :16] = 0.0
    changed.save_pretrained(where)
    assert len(found().faults()) == 4, "the reply, the given text decoded and scored, the long text"


def test_a_tie_is_where_the_reference_is_undecided_and_nowhere_else() -> None:
    logits = torch.tensor([[1.0, 0.9, -3.0], [1.0, 0.5, -3.0]])
    text = Text([1], [0, 0], logits, torch.full((2, 3), 0.02), logits)
    assert [text.tied(place) for place in range(2)] == [True, False]
