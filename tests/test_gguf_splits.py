"""GGUF files that are split or damaged: the whole model, or a sentence about what is wrong with them."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from benchmarks.damage.bases import FILES
from benchmarks.damage.bases import gguf_file as damaged_file
from benchmarks.damage.gguf_file import F32, I32, STRING, U32, GgufFile
from benchmarks.small import gguf_files
from benchmarks.small.gguf_files import gguf_file
from models.errors import ModelError
from models.gguf_files.reader import read
from models.gguf_files.splits import joined
from models.loading import load_language_model

PROMPT = [5, 60, 70, 80, 33]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A model in four files, as llama.cpp's converter splits it."""
    monkeypatch.setattr(gguf_files, "GGUFWriter", functools.partial(gguf.GGUFWriter, split_max_tensors=8))
    (tmp_path / "parts").mkdir()
    gguf_file(tmp_path / "parts" / "m.gguf")
    found = sorted((tmp_path / "parts").iterdir())
    assert [part.name for part in found] == [f"m-{number:05}-of-00004.gguf" for number in range(1, 5)]
    return found


def load(path: Path) -> torch.Tensor:
    model = load_language_model(str(path), precision="float16", cache=path.parent / "cache", threads=1)
    return model.score(PROMPT, PROMPT)


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_language_model(str(path), precision="float32", cache=path.parent / "cache", threads=1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_any_part_names_the_whole_model(tmp_path: Path, parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    whole = load(gguf_file(tmp_path / "whole.gguf"))
    for part in (parts[0], parts[2]):
        assert torch.equal(load(part), whole)


def test_a_part_that_is_missing_or_misplaced_is_named(parts: list[Path]) -> None:
    third = parts[2].rename(parts[2].with_name("away"))
    for part in (parts[0], parts[1]):
        assert refusal(part) == (
            f"{part.name} is one of 4 parts of a model, and m-00003-of-00004.gguf is not beside it; put all parts into one "
            f"folder."
        )
    third.rename(parts[2])
    content = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    assert "m-00002-of-00004.gguf says that it is part 2 of its model" in refusal(parts[0])
    parts[1].write_bytes(content)
    alone = parts[0].rename(parts[0].with_name("alone.gguf"))
    assert "alone.gguf is one of 4 parts of a model, but is not named as such" in refusal(alone)


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = gguf_file(tmp_path / "m.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    random = np.random.default_rng(0)
    for size in [*range(1, 60), *random.integers(60, len(content), 60)]:
        cut.write_bytes(content[: int(size)])
        with pytest.raises(ModelError, match=r"cut\.gguf (is no whole GGUF file|is not a GGUF file)"):
            joined(cut)


@pytest.mark.parametrize(
    ("place", "layout", "value", "why"),
    [
        (0, "4s", b"GGML", "does not begin with the letters GGUF"),
        (4, "<I", 1, "is a GGUF file of version 1; versions 2 and 3 are read"),
        (4, ">I", 3, "is a big-endian GGUF file"),
        (8, "<Q", 2**40, "its header counts 1099511627776 tensors"),
        (16, "<Q", 2**63, "its header counts"),
        (24, "<Q", 2**62, "its header is cut short or damaged"),
        (-1, "<I", 99, "ggml's format number 99"),
    ],
)
def test_a_header_that_cannot_be_true_is_named(
    tmp_path: Path, place: int, layout: str, value: object, why: str
) -> None:
    path = gguf_file(tmp_path / "m.gguf")
    content = bytearray(path.read_bytes())
    if place < 0:  # the format of the first tensor stands behind its name and its two sizes
        place = content.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 16
    struct.pack_into(layout, content, place, value)
    path.write_bytes(content)
    assert why in refusal(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda file: file.entries.append(file.entry("block_count")), "it says 'llama.block_count' twice"),
        (lambda file: file.add("general.alignment", U32, 1), "its alignment is 1"),
        (lambda file: file.add("general.alignment", U32, 16), "its alignment is 16"),
        (lambda file: file.add("general.alignment", U32, 48), "its alignment is 48"),
        (lambda file: setattr(file.tensors[2], "offset", 0), "lies at 0, where the one before ends"),
        (lambda file: setattr(file.tensors[2], "name", "n" * 64), "the name of a tensor is none"),
        (lambda file: setattr(file.tensors[2], "name", "a\nb"), "the name of a tensor is none"),
        (lambda file: setattr(file.entry("token_type"), "value", (U32, [1] * 420)), "is a list of another type"),
        (lambda file: setattr(file.entry("token_type"), "value", (I32, [])), "lists that do not fit together"),
        (lambda file: setattr(file.entry("scores"), "value", (F32, [])), "lists that do not fit together"),
        (lambda file: setattr(file.entry("token_type"), "key", ""), "one of its keys is empty"),
        (lambda file: file.add("general.type", STRING, "adapter"), "of the type 'adapter'"),
        (lambda file: file.add("general.architecture", STRING, "x" * 10**6), "of the architecture 'xxx"),
        (lambda file: file.add("tokenizer.ggml.model", STRING, "y" * 10**6), "a tokenizer of the kind 'yyy"),
        (lambda file: file.add("llama.block_count", STRING, "z" * 10**6), "and is 'zzz"),
    ],
)
def test_what_llama_cpp_does_not_read_is_not_read_here(
    tmp_path: Path, change: Callable[[GgufFile], object], why: str
) -> None:
    file = damaged_file(FILES[0])
    change(file)
    file.write(tmp_path / "m.gguf")
    sentence = refusal(tmp_path / "m.gguf")
    assert why in sentence
    assert len(sentence) < 400


def test_a_tensor_beyond_the_end_or_not_finite_is_named(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "m.gguf")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5000])
    assert "ends beyond the end of the file" in refusal(path)
    for number in (np.nan, np.inf):
        content = bytearray(whole)
        content[-4:] = np.float32(number).tobytes()
        path.write_bytes(content)
        assert "holds values that are no finite numbers" in refusal(path)


def test_flipped_bytes_of_a_header_give_a_model_or_a_sentence(tmp_path: Path) -> None:
    """Whatever is wrong, nothing but ModelError is raised."""
    path = gguf_file(tmp_path / "m.gguf")
    content = path.read_bytes()
    end = content.index(b"general.name")
    random, damaged = np.random.default_rng(1), tmp_path / "damaged.gguf"
    for _ in range(150):
        flipped = bytearray(content)
        for place in random.integers(8, max(200, end), 2):
            flipped[place] = random.integers(256)
        damaged.write_bytes(flipped)
        try:
            read(damaged)
        except ModelError:
            continue
