"""The real model behind the protocol: same bits in company, states of decoding and of teacher forcing, plain refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models import embedded, loading
from models.errors import ModelError
from models.language_model import LanguageModel
from models.loading import load_language_model
from models.sources.source import folder_revision
from models.transformers_model import STEP_ROWS
from playground.config import Settings
from tests.sentencepiece_like import speller


def refusal(model: str, **options: str) -> str:
    with pytest.raises(ModelError) as caught:
        load_language_model(model, **options)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert len(sentence) < 600
    return sentence


def test_digits_are_tokens_of_their_own(embedded_model: LanguageModel) -> None:
    for text in ("1234567890", "in 2024, 365 days", "  42"):
        pieces = [embedded_model.decode([i]) for i in embedded_model.encode_text(text)]
        assert "".join(pieces) == text
        assert all(len(piece.strip()) == 1 for piece in pieces if any(c.isdigit() for c in piece))


def test_equal_lanes_have_equal_bits_in_the_first_half_of_a_step(embedded_model: LanguageModel) -> None:
    assert {embedded_model.rows_for(lanes) for lanes in (1, 2, 3, 4)} == {STEP_ROWS}
    output, cache = embedded_model.prefill(embedded_model.encode_chat("Name a city."))
    cache = embedded_model.expand(cache, STEP_ROWS)
    token = int(output.logits.argmax())
    others = torch.tensor([5, 900, 77, 1234])
    for _ in range(3):
        step = embedded_model.step(torch.cat([torch.full((4,), token), others]), cache)
        for row in (1, 2, 3):
            assert torch.equal(step.logits[0], step.logits[row])
            assert torch.equal(step.hidden[0], step.hidden[row])
        token = int(step.logits[0].argmax())


def test_teacher_forced_states_are_those_of_decoding(embedded_model: LanguageModel) -> None:
    prompt = embedded_model.encode_chat("Name a city.")
    reply = embedded_model.encode_text("Paris is the capital of France.")
    output, cache = embedded_model.prefill(prompt)
    cache, seen = embedded_model.expand(cache, STEP_ROWS), [output.hidden[0]]
    for token in reply[:-1]:
        seen.append(embedded_model.step(torch.full((STEP_ROWS,), token), cache).hidden[0])
    features = embedded_model.features(prompt, reply)
    assert features.shape == (len(reply), embedded_model.hidden_size)
    torch.testing.assert_close(features, torch.stack(seen), atol=1e-3, rtol=1e-3)


def test_the_hidden_state_is_what_the_unembedding_reads(embedded_model: LanguageModel) -> None:
    output, _ = embedded_model.prefill(embedded_model.encode_chat("Name a city."))
    weight = embedded_model.model.get_output_embeddings().weight
    torch.testing.assert_close(output.hidden @ weight.T, output.logits, atol=1e-3, rtol=1e-4)
    assert output.logits.shape == (1, embedded_model.vocab_size)


def test_a_prompt_beyond_the_context_is_refused_before_it_is_read(embedded_model: LanguageModel) -> None:
    limit = embedded_model.context_length - 1
    for prompt in ("word " * (limit + 1), "x" * 1_000_000):
        with pytest.raises(ModelError, match=f"reads at most {limit} tokens; shorten the prompt"):
            embedded_model.encode_chat(prompt)


def test_a_folder_elsewhere_is_the_same_model_under_its_own_name(embedded_model: LanguageModel, tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    for file in embedded.folder(Settings().cache_folder).iterdir():
        (folder / file.name).symlink_to(file)
    loaded = load_language_model(str(folder), precision="float32")
    assert loaded.name == "my-model"
    assert loaded.revision.startswith("sha256-")
    ids = loaded.encode_chat("Name a city.")
    assert torch.equal(loaded.prefill(ids)[0].logits, embedded_model.prefill(ids)[0].logits)


def test_what_is_not_there_is_refused_with_what_would_work(tmp_path: Path) -> None:
    for missing in (tmp_path / "missing", tmp_path / "a" / "b"):
        assert "There is no model folder" in refusal(str(missing))
    assert "There is no file" in refusal(str(tmp_path / "missing.gguf"))
    assert "There is no model folder" in refusal("no-slash")


def test_what_is_no_model_is_refused_with_what_was_tried(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nonsense"}))
    assert "could not be loaded" in refusal(str(tmp_path))
    assert "no model type nonsense" in refusal(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert "must hold one JSON object" in refusal(str(tmp_path))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    assert "is a GGUF file of version 0; versions 2 and 3 are read" in refusal(str(tmp_path / "broken.gguf"))


def test_an_unreachable_hub_id_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    sentence = refusal("nobody/no-such-model-anywhere")
    assert "'nobody/no-such-model-anywhere' could not be loaded" in sentence
    assert "use a folder with config.json and safetensors, a .gguf file or a reachable Hub id" in sentence


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="the device is there")
def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert "choose one of auto, " in refusal("embedded", device="mps")
    assert "must be one of auto, float32, float16, bfloat16, int8, gguf" in refusal("embedded", precision="int3")


def test_on_an_accelerator_transformers_runs_in_half_precision_and_small_integers_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    cuda = torch.device("cuda")
    assert loading._for_transformers(cuda, "auto")[0] == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert loading._for_transformers(cuda, "auto")[0] == "float32"
    assert loading._for_transformers(cuda, "float16")[0] == "float16"
    for name in ("int8", "gguf"):
        with pytest.raises(ModelError, match=f"{name} weights run on a CPU only; choose auto, float32, float16 or"):
            loading._for_transformers(cuda, name)


def test_a_folder_of_weights_is_named_after_every_byte(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    names = []
    for place in (None, 0, 2 << 20, (4 << 20) - 1):
        content = bytearray(4 << 20)
        if place is not None:
            content[place] = 1
        weights.write_bytes(content)
        names.append(folder_revision(tmp_path))
    assert len(set(names)) == 4
    assert all(name.startswith("sha256-") for name in names)


def test_the_text_of_a_token_is_what_it_has_inside_a_reply() -> None:
    """SentencePiece tokenizers drop the first blank of what they decode."""
    spelling = speller()
    pieces = spelling.tokenizer.convert_ids_to_tokens(list(range(len(spelling.tokenizer))))
    begun = [token for token, piece in enumerate(pieces) if piece.startswith("▁")]
    assert len(begun) > 100
    for token in begun:
        assert spelling.token_text(token) == pieces[token].replace("▁", " ")
    assert spelling.token_text(len(pieces) - 1) == "\ufffd"
    assert [spelling.token_text(token) for token in range(3)] == ["", "", ""]


def test_a_tokenizer_that_drops_no_blank_gives_a_token_the_text_it_has_alone(embedded_model: LanguageModel) -> None:
    for token in range(0, embedded_model.vocab_size, 97):
        assert embedded_model.token_text(token) == embedded_model.decode([token])


def test_tokens_that_stand_for_no_text_are_known_by_their_spelling(embedded_model: LanguageModel) -> None:
    assert speller().control_tokens == {0: "<unk>", 1: "<s>", 2: "</s>"}
    known = embedded_model.control_tokens
    assert embedded_model.end_ids <= set(known)
    assert all(embedded_model.token_text(token) == "" for token in known)
