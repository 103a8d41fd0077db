"""A folder of weights gives what transformers makes of it undamaged, or one sentence: its files, names, shapes and numbers."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.small.folders import folder
from models.sources.source import folder_revision
from tests.damaged import Tensors, changed, configured, reference, refusal, rewritten, same, sharded, without

PATHS = ("float16", "float32")  # our own network, and transformers
LAYER = "model.layers.1."


def index_of(path: Path) -> Any:
    return json.loads((path / "model.safetensors.index.json").read_text())


def reindexed(path: Path, **placed: str) -> None:
    index = index_of(path)
    index["weight_map"].update(placed)
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("precision", PATHS)
def test_the_index_decides_which_files_are_the_model(tmp_path: Path, precision: str) -> None:
    expected = reference(sharded(tmp_path))
    before, alone = folder_revision(tmp_path), same(expected, tmp_path, precision)
    first = sorted(tmp_path.glob("*.safetensors"))[0]
    noise = {name: torch.randn_like(tensor) for name, tensor in load_file(first).items()}
    for stray in ("another.safetensors", "zz-backup.safetensors", f"{first.stem}.bak.safetensors"):
        save_file(noise, tmp_path / stray)
    beside = same(expected, tmp_path, precision)
    assert beside.parameters == alone.parameters == sum(p.numel() for p in alone.model.parameters())
    assert beside.revision == before == folder_revision(tmp_path)


@pytest.mark.parametrize("precision", PATHS)
def test_without_an_index_the_one_file_is_the_model(tmp_path: Path, precision: str) -> None:
    expected = reference(folder(tmp_path))
    before = folder_revision(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: -tensor for name, tensor in tensors.items()}, tmp_path / "old.safetensors")
    assert same(expected, tmp_path, precision).revision == before


@pytest.mark.parametrize("make", [folder, sharded])
def test_a_plain_folder_is_still_named_by_its_safetensors_in_the_order_of_their_names(
    tmp_path: Path, make: Any
) -> None:
    """Heads are bound to that name."""
    make(tmp_path)
    digest = hashlib.sha256()
    for path in sorted(tmp_path.glob("*.safetensors")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    assert folder_revision(tmp_path) == f"sha256-{digest.hexdigest()[:16]}"


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-file.safetensors", "there is no such file"),
        ("../outside.safetensors", "outside its folder"),
        ("/outside.safetensors", "outside its folder"),
    ],
)
def test_an_index_that_leads_nowhere_is_refused(tmp_path: Path, precision: str, name: str, said: str) -> None:
    sharded(tmp_path / "model")
    shutil.copy(sorted((tmp_path / "model").glob("*.safetensors"))[0], tmp_path / "outside.safetensors")
    reindexed(tmp_path / "model", **{"model.norm.weight": name})
    sentence = refusal(tmp_path / "model", precision)
    assert said in sentence
    assert "model.norm.weight" in sentence


@pytest.mark.parametrize("precision", PATHS)
def test_an_index_that_places_a_tensor_where_it_is_not_is_refused(tmp_path: Path, precision: str) -> None:
    sharded(tmp_path)
    files = index_of(tmp_path)["weight_map"]
    other = next(name for name in sorted(set(files.values())) if name != files["model.norm.weight"])
    reindexed(tmp_path, **{"model.norm.weight": other})
    assert "model.norm.weight" in refusal(tmp_path, precision)
    reindexed(tmp_path, **{"model.norm.weight": files["model.norm.weight"], "model.layers.0.no.weight": other})
    assert "model.layers.0.no.weight is not in" in refusal(tmp_path, precision)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 1}}']
)
def test_what_is_no_index_is_refused(tmp_path: Path, text: str) -> None:
    sharded(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json" in refusal(tmp_path)


def test_two_models_in_one_folder_are_refused_and_a_left_over_index_is_not_read(tmp_path: Path) -> None:
    expected = reference(folder(tmp_path / "one"))
    sharded(tmp_path / "two", seed=1)
    shutil.copy(tmp_path / "one" / "model.safetensors", tmp_path / "two")
    assert "holds two models: model.safetensors, and what model.safetensors.index.json names" in refusal(
        tmp_path / "two"
    )
    sorted((tmp_path / "two").glob("model-*.safetensors"))[0].unlink()
    for precision in PATHS:
        same(expected, tmp_path / "two", precision)


@pytest.mark.parametrize("precision", PATHS)
def test_a_file_that_the_configuration_names_is_the_model(tmp_path: Path, precision: str) -> None:
    expected = reference(folder(tmp_path))
    shutil.move(tmp_path / "model.safetensors", tmp_path / "other.safetensors")
    folder(tmp_path, seed=1)
    configured(tmp_path, transformers_weights="other.safetensors")
    torch.testing.assert_close(reference(tmp_path), expected)
    same(expected, tmp_path, precision)
    (tmp_path / "model.safetensors").unlink()
    same(expected, tmp_path, precision)
    for name in ("../other.safetensors", "none.safetensors"):
        assert name in refusal(configured(tmp_path, transformers_weights=name), precision)


@pytest.mark.parametrize("precision", PATHS)
def test_a_shard_that_is_missing_is_refused_by_name(tmp_path: Path, precision: str) -> None:
    sharded(tmp_path)
    first = sorted(tmp_path.glob("*.safetensors"))[0]
    first.rename(tmp_path / "elsewhere")
    assert first.name in refusal(tmp_path, precision)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert "model.safetensors" in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize("size", [0, 7, 4000, -10])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, precision: str, size: int) -> None:
    path = folder(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert f"{path} is " in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", [*PATHS, "auto", "int8"])
@pytest.mark.parametrize(
    "name", ["model.norm.weight", "lm_head.weight", "model.embed_tokens.weight", LAYER + "mlp.up_proj.weight"]
)
def test_a_tensor_that_is_missing_is_named_and_never_made_up(tmp_path: Path, precision: str, name: str) -> None:
    changed(tmp_path, without(name))
    assert f"lacks the tensor {name}, which its configuration asks for" in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("llama", LAYER + "self_attn.o_proj.bias"),
        ("llama", LAYER + "self_attn.q_proj.bias"),
        ("llama", LAYER + "mlp.down_proj.bias"),
        ("llama", LAYER + "self_attn.q_norm.weight"),
        ("llama", LAYER + "post_feedforward_layernorm.weight"),
        ("qwen2", LAYER + "self_attn.o_proj.bias"),
        ("qwen3", LAYER + "self_attn.k_proj.bias"),
        ("mistral", "model.layers.3.input_layernorm.weight"),
    ],
)
def test_a_tensor_without_a_place_is_named_and_never_left_out(
    tmp_path: Path, precision: str, family: str, name: str
) -> None:
    options = {"sliding_window": None} if family == "mistral" else {}
    changed(tmp_path, lambda tensors: tensors.update({name: torch.ones(64)}), family, **options)
    assert f"holds the tensor {name}, for which its configuration has no place" in refusal(tmp_path, precision)


@pytest.mark.parametrize("precision", PATHS)
def test_buffers_of_older_files_are_left_out(tmp_path: Path, precision: str) -> None:
    expected = reference(folder(tmp_path))
    rewritten(tmp_path, lambda tensors: tensors.update({LAYER + "self_attn.rotary_emb.inv_freq": torch.ones(8)}))
    same(expected, tmp_path, precision)


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize("name", ["model.norm.weight", LAYER + "self_attn.k_proj.weight", "lm_head.weight"])
def test_a_tensor_of_another_shape_is_refused_with_both(tmp_path: Path, precision: str, name: str) -> None:
    def cut(tensors: Tensors) -> None:
        tensors[name] = tensors[name][:-2].clone()

    sentence = refusal(changed(tmp_path, cut), precision)
    assert f"The tensor {name} of {tmp_path.name} has the shape" in sentence
    assert "but its configuration asks for" in sentence


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model.norm.weight", 3),
        ("lm_head.weight", 64 * 301 + 5),
        ("model.embed_tokens.weight", 64 * 319 + 1),
        (LAYER + "self_attn.k_proj.weight", 70),
        (LAYER + "mlp.gate_proj.weight", 0),
        (LAYER + "mlp.down_proj.weight", 99),
        (LAYER + "input_layernorm.weight", 63),
    ],
)
def test_a_number_that_is_none_is_refused(tmp_path: Path, precision: str, value: float, name: str, place: int) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[name].view(-1)[place] = value

    assert "no finite numbers" in refusal(changed(tmp_path, spoil), precision)


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_names_without_the_models_prefix_are_read_as_transformers_reads_them(
    tmp_path: Path, precision: str, family: str
) -> None:
    expected = reference(folder(tmp_path, family, tie_word_embeddings=True))

    def shorten(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("model.")] = tensors.pop(name)

    rewritten(tmp_path, shorten)
    torch.testing.assert_close(reference(tmp_path), expected)
    same(expected, tmp_path, precision)


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize("tied", [False, True])
def test_names_with_the_models_prefix_once_more_are_read_as_transformers_reads_them(
    tmp_path: Path, precision: str, tied: bool
) -> None:
    expected = reference(folder(tmp_path, tie_word_embeddings=tied))

    def lengthen(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[f"model.{name}"] = tensors.pop(name)

    rewritten(tmp_path, lengthen)
    torch.testing.assert_close(reference(tmp_path), expected)
    same(expected, tmp_path, precision)


@pytest.mark.parametrize("precision", PATHS)
@pytest.mark.parametrize("prefix", ["base_model.model.", "_orig_mod.", "module.", "language_"])
def test_names_with_a_wrappers_prefix_are_refused(tmp_path: Path, precision: str, prefix: str) -> None:
    def wrap(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[prefix + name] = tensors.pop(name)

    assert "lacks the tensor lm_head.weight" in refusal(changed(tmp_path, wrap), precision)


@pytest.mark.parametrize("precision", PATHS)
def test_a_tied_model_whose_file_has_another_unembedding_is_transformers(tmp_path: Path, precision: str) -> None:
    folder(tmp_path, tie_word_embeddings=True)
    expected = reference(tmp_path)
    table = "model.embed_tokens.weight"
    rewritten(tmp_path, lambda tensors: tensors.update({"lm_head.weight": tensors[table].clone()}))
    parameters = same(expected, tmp_path, precision).parameters
    rewritten(tmp_path, lambda tensors: tensors.update({"lm_head.weight": tensors[table].flip(0)}))
    assert not torch.allclose(reference(tmp_path), expected)
    assert same(reference(tmp_path), tmp_path, precision).parameters == parameters + 320 * 64
    rewritten(tmp_path, without(table))
    assert same(reference(tmp_path), tmp_path, precision).parameters == parameters


def test_an_adapter_is_not_left_out(tmp_path: Path) -> None:
    (folder(tmp_path) / "adapter_config.json").write_text("{}")
    assert "holds an adapter" in refusal(tmp_path)


def test_a_folder_of_pickled_weights_is_read_by_transformers(tmp_path: Path) -> None:
    expected = reference(folder(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    before = folder_revision(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"another")
    assert folder_revision(tmp_path) == before
    for precision in PATHS:
        same(expected, tmp_path, precision)
    weights.pop("model.norm.weight")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    for precision in PATHS:
        assert "lacks the tensor model.norm.weight" in refusal(tmp_path, precision)


def test_a_configuration_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    for says in ({"num_hidden_layers": 2}, {"num_hidden_layers": 4}, {"vocab_size": 319}, {"num_key_value_heads": 4}):
        for precision in PATHS:
            refusal(configured(folder(tmp_path), **says), precision)
