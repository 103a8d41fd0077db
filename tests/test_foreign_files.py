"""What lies where a model should: each is one true sentence that names the file, and nothing is waited for."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ModelError
from models.loading import load_language_model
from models.sources.reason import LONGEST, reason_of
from tests.odd_files import HUGE, UNREADABLE
from tests.tiny_llama import tiny_folder

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
PAGE = b"<!DOCTYPE html>\n<html><title>404</title></html>\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A model folder whose files may be removed and replaced."""
    copy = tmp_path / "model"
    copy.mkdir()
    for path in whole.iterdir():
        os.link(path, copy / path.name)
    return copy


def refusal(path: Path, precision: str = "float32") -> str:
    with pytest.raises(ModelError) as caught:
        load_language_model(str(path), precision=precision, cache=path.parent / "cache")
    sentence = str(caught.value)
    assert len(sentence) < 400
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


@pytest.mark.parametrize("precision", ["auto", "float32"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "make", [UNREADABLE["pipe"], UNREADABLE["folder"], UNREADABLE["link to nowhere"], *HUGE.values()]
)
def test_a_file_that_is_none_is_named(folder: Path, name: str, make: Callable[[Path], object], precision: str) -> None:
    (folder / name).unlink()
    make(folder / name)
    assert name in refusal(folder, precision)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("text", "says"), [(POINTER, "Git LFS"), (PAGE, "web page"), (b"", "is empty")])
def test_what_stands_in_for_a_file_is_said(folder: Path, name: str, text: bytes, says: str) -> None:
    (folder / name).unlink()
    (folder / name).write_bytes(text)
    sentence = refusal(folder)
    assert says in sentence
    assert name in sentence


@pytest.mark.parametrize(
    ("text", "says"), [(POINTER, "Git LFS"), (PAGE, "web page"), (b"", "is empty"), (b"tjgg", "letters GGUF")]
)
def test_a_gguf_file_that_is_none_is_said(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / "model.gguf").write_bytes(text)
    assert says in refusal(tmp_path / "model.gguf", "auto")


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_gguf_path_without_a_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "model.gguf")
    assert "model.gguf" in refusal(tmp_path / "model.gguf")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "[" * 100000, '{"a": 1} {}'])
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_text_that_is_no_object_is_refused_by_the_files_name(folder: Path, name: str, text: str) -> None:
    (folder / name).unlink()
    (folder / name).write_text(text)
    sentence = refusal(folder)
    assert name in sentence
    assert "JSON object" in sentence or "is empty" in sentence


@pytest.mark.parametrize("length", [0, 1, 2**40, 2**64 - 1])
def test_weights_that_do_not_begin_as_safetensors_are_refused_before_they_are_read(folder: Path, length: int) -> None:
    (folder / "model.safetensors").unlink()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", length) + b"{")
        file.truncate(2**38)  # a hash over this would take minutes
    assert "no whole safetensors file" in refusal(folder)


LYING_AROUND = [
    ({"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "adapter"),
    ({"config.json": "{}", "adapter_model.safetensors": ""}, "adapter"),
    ({"model-q4.gguf": "GGUF"}, "model-q4.gguf"),
    ({"config.json": "{}", "onnx/model.onnx": ""}, "ONNX"),
    ({"model_index.json": "{}"}, "writes no text"),
    ({"config.json": "{}", "tf_model.h5": ""}, "TensorFlow"),
    ({"config.json": "{}", "flax_model.msgpack": ""}, "Flax"),
    ({"params.json": "{}", "consolidated.00.pth": ""}, "makers' own form"),
    ({"config.json": "{}", "model.pt": ""}, "pickle"),
    ({"config.json": "{}", "model.safetensors.incomplete": ""}, "not finished"),
    ({"config.json": "{}", "part-1.safetensors": ""}, "save_pretrained"),
    ({"one/config.json": "{}", "two/config.json": "{}"}, "/one"),
    ({"models--a--b/snapshots/0/config.json": "{}"}, "snapshots/0"),
    ({"model.safetensors": "\x02" + "\0" * 7 + "{}"}, "no config.json; name a folder"),
    ({"tokenizer.json": "{}"}, "config.json"),
    ({}, "config.json"),
]


@pytest.mark.parametrize(("files", "says"), LYING_AROUND)
def test_a_folder_without_a_model_is_said_to_be_what_it_is(tmp_path: Path, files: dict[str, str], says: str) -> None:
    (tmp_path / "model").mkdir()
    for name, text in files.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(text)
    assert says in refusal(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "nobody"}, "no model type nobody"),
        ({"model_type": None}, "names no model_type"),
        ({"hidden_size": "64"}, "hidden_size in its configuration is '64', which is not a whole number"),
        ({"rms_norm_eps": [1]}, "rms_norm_eps in its configuration is [1], which is not a number"),
        ({"eos_token_id": "64"}, "eos_token_id in its configuration cannot be '64'"),
        ({"text_config": 3}, "of a kind that cannot be there"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "code.Config"}}, "never run"),
    ],
)
def test_a_configuration_that_cannot_be_is_told_by_its_field(
    folder: Path, change: dict[str, object], says: str
) -> None:
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    assert says in refusal(folder, "auto")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"added_tokens": [{"id": -1}]}', '{"version": "1.0", "model": {"type": "BPE"}}']
)
def test_a_tokenizer_that_cannot_be_read_is_named(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(text)
    sentence = refusal(folder)
    assert "tokenizer" in sentence
    assert "or name another one" in sentence


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_hidden_layers": 10**9}, "asks for num_hidden_layers 1e+09, but its files hold 20 tensors"),
        ({"num_hidden_layers": 10**30}, "asks for num_hidden_layers 1e+30"),
        ({"vocab_size": 10**9}, "asks for vocab_size 1e+09 and hidden_size 16"),
        ({"intermediate_size": 10**9}, "asks for intermediate_size 1e+09"),
        ({"head_dim": 2 * 10**9}, "asks for head_dim 2e+09"),
        ({"hidden_size": 10**9}, "hidden_size 1e+09"),
    ],
)
def test_a_configuration_of_a_far_larger_model_is_refused_before_anything_is_made(
    folder: Path, change: dict[str, int], says: str, precision: str
) -> None:
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    assert says in refusal(folder, precision)


def test_a_template_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "chat_template.jinja").write_bytes(b"\xed\xa0\x80")
    assert "chat_template.jinja must be text in UTF-8" in refusal(folder)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_tokenizer_with_more_pieces_than_the_model_is_refused_where_one_is_written(
    tmp_path: Path, precision: str
) -> None:
    folder = tiny_folder(tmp_path / "model", extra=("<|beyond|>", "zebra"))
    template = "<|beyond|>{{ messages[0].content }}"
    model = load_language_model(str(folder), precision=precision, cache=tmp_path)
    assert max(model.encode_chat("A lion.")) < model.vocab_size == 49152
    with pytest.raises(ModelError, match="the model has only 49152 tokens"):
        model.encode_chat("A zebra.")
    with pytest.raises(ModelError, match="writes the token"):
        model.encode_text("zebra")
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match="belongs to the model"):
        load_language_model(str(folder), precision=precision, cache=tmp_path).encode_chat("A lion.")


class OddError(RuntimeError):
    """A class that no user knows."""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            KeyError("model.norm.weight"),
            "model.norm.weight is missing in it, or is a value that transformers does not know",
        ),
        (KeyError("su"), "su is missing in it, or is a value that transformers does not know"),
        (
            KeyError("Missing required keys in `rope_parameters` for 'rope_type'='linear': {'factor'}"),
            "Missing required keys in `rope_parameters` for 'rope_type'='linear': {'factor'}",
        ),
        (AttributeError("module 'torch' has no attribute 'nonsense'"), "dtype in its configuration cannot be nonsense"),
        (AttributeError("'int' object has no attribute 'to_dict'"), "of a kind that cannot be there"),
        (OddError("<class 'a.b.Whole'> cannot be. Look above!"), "Whole cannot be"),
        (OddError("OddError: not this"), "not this"),
        (OddError(""), "of a kind that cannot be there"),
        (OddError("word " * 200), "word …"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"), "do not fit together"),
    ],
)
def test_a_reason_names_no_class(error: Exception, says: str) -> None:
    reason = reason_of(error)
    assert says in reason
    assert len(reason) <= LONGEST + 2
    assert "Error" not in reason
