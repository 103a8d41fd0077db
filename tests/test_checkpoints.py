"""Heads on disk: what is saved comes back, and what does not fit or is not safetensors is refused in one sentence."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import SHIPPED, Checkpoint, Found, default_for, describe, find, get, load, load_head, read, save
from models.errors import ModelError
from models.meta import Base, Meta

BASE = Base("org/model-a", "r1", 12, 100)
META = Meta(
    kind="adaptive-token",
    base=BASE,
    grid=(0.0, 0.5, 1.0),
    width=8,
    loss="separate",
    parent=None,
    data_sha256="0" * 64,
    metrics={"x": 1.5},
    temperature_histogram=(0.5, 0.25, 0.25),
    command="python -m playground train",
    commit="abc",
)


def decoder() -> AdaptiveDecoder:
    torch.manual_seed(1)
    made = AdaptiveDecoder(12, 3, width=8)
    torch.nn.init.normal_(made.last.weight)
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoint:
    return save(tmp_path, "head-1", decoder(), META, "# card\n")


def test_what_is_saved_comes_back(saved):
    found = get([saved.folder], "head-1", BASE)
    assert found == saved
    assert found.meta == META
    assert found.card == "# card\n"
    assert found.id == f"head-1@{found.sha256[:16]}"
    states = torch.randn(4, 12)
    torch.testing.assert_close(load_head(found)(states), decoder().double()(states))
    assert all(t.dtype == torch.float32 for t in load_file(saved.folder / "head-1.safetensors").values())


@pytest.mark.parametrize("last", ["head-1.json", "head-1.md", "head-1.safetensors"])
def test_a_save_that_is_cut_leaves_no_head_and_no_half_file(tmp_path, monkeypatch, last):
    put = os.replace

    def cut(draft, path):
        if path.name == last:
            raise KeyboardInterrupt
        put(draft, path)

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, "head-1", decoder(), META, "# card\n")
    assert not (tmp_path / last).exists()
    assert find([tmp_path], BASE) == Found((), ())
    monkeypatch.undo()
    assert save(tmp_path, "head-1", decoder(), META, "# card\n") == get([tmp_path], "head-1", BASE)


def test_a_new_description_leaves_the_weights_and_the_id_alone(saved):
    describe(saved, replace(META, metrics={"y": 2}), "new")
    again = read(saved.folder, "head-1")
    assert (again.id, again.card, again.meta.metrics) == (saved.id, "new", {"y": 2})


def test_a_head_follows_hashed_weights_to_another_folder(saved):
    here = Base("folder", "sha256-1", 12, 100)
    describe(saved, replace(META, base=here), "card")
    assert get([saved.folder], "head-1", replace(here, model="renamed")).name == "head-1"
    with pytest.raises(ModelError, match="loaded model is 'renamed'"):
        get([saved.folder], "head-1", replace(here, model="renamed", revision="sha256-2"))
    describe(saved, replace(META, base=replace(here, revision="main")), "card")
    with pytest.raises(ModelError, match="loaded model is 'renamed'"):
        get([saved.folder], "head-1", Base("renamed", "main", 12, 100))


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        (
            Base("B", "r1", 2048, 100),
            "Checkpoint 'head-1' was trained on 'org/model-a' (hidden size 12) but the loaded model is 'B' (hidden size 2048). "
            "Choose a checkpoint listed for this model.",
        ),
        (Base("org/model-a", "r2", 12, 100), "revision"),
        (Base("org/model-a", "r1", 16, 100), "hidden size 16"),
        (Base("org/model-a", "r1", 12, 101), "vocabulary of 100"),
    ],
)
def test_a_head_of_another_model_is_refused_and_listed_as_refused(saved, base, sentence):
    with pytest.raises(ModelError) as refusal:
        get([saved.folder], "head-1", base)
    assert sentence in str(refusal.value)
    assert find([saved.folder], base).usable == ()
    assert sentence in find([saved.folder], base).refused[0]


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors", ".pkl", ""])
def test_a_pickle_is_refused_and_never_run_whatever_its_name(tmp_path, saved, suffix):
    touched = tmp_path / "touched"
    (tmp_path / f"evil{suffix}").write_bytes(pickle.dumps(Canary(touched)))
    (tmp_path / "evil.json").write_text((saved.folder / "head-1.json").read_text())
    with pytest.raises(ModelError, match="not a safetensors file"):
        get([tmp_path], "evil", BASE)
    find([tmp_path], BASE)
    assert not touched.exists()
    pickle.loads((tmp_path / f"evil{suffix}").read_bytes())
    assert touched.exists()  # the canary itself works


@pytest.mark.parametrize("name", ["../head-1", "a/b", "", ".hidden", "..", "UPPER", "x" * 64, "a b", "a\n"])
def test_a_name_that_could_leave_the_folder_is_refused(saved, name):
    with pytest.raises(ModelError, match="1 to 63"):
        get([saved.folder], name, BASE)


def test_an_unknown_name_is_answered_with_those_there_are(saved):
    with pytest.raises(ModelError, match=r"no checkpoint 'head-2'.*head-1"):
        get([saved.folder], "head-2", BASE)


def rewrite(checkpoint: Checkpoint, change) -> None:
    """Changes the tensors on disk and keeps the description true to the file."""
    path = checkpoint.folder / f"{checkpoint.name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    import hashlib

    record = json.loads((checkpoint.folder / f"{checkpoint.name}.json").read_text())
    record["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (checkpoint.folder / f"{checkpoint.name}.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.update({"last.weight": torch.zeros(4, 8)}), "other tensors"),
        (lambda t: t.pop("first.bias"), "other tensors"),
        (lambda t: t.update({"extra": torch.zeros(1)}), "other tensors"),
        (lambda t: t["first.bias"].fill_(float("nan")), "NaN or infinite weights"),
        (lambda t: t["first.bias"].fill_(float("inf")), "NaN or infinite weights"),
    ],
)
def test_wrong_shapes_and_weights_that_are_no_numbers_are_refused(saved, change, sentence):
    rewrite(saved, change)
    with pytest.raises(ModelError, match=sentence):
        load_head(read(saved.folder, "head-1"))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("grid"),
        lambda r: r.update(kind="fixed"),
        lambda r: r.update(grid=[1.0, 0.5, 0.0]),
        lambda r: r.update(width="8"),
        lambda r: r.update(temperature_histogram=[1.0]),
        lambda r: r.update(base={"model": "x"}),
        lambda r: r.update(unknown=1),
        lambda r: r.update(format="other"),
    ],
)
def test_an_invalid_description_is_refused(saved, change):
    path = saved.folder / "head-1.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(ModelError, match=r"needs its description head-1\.json"):
        read(saved.folder, "head-1")


def test_a_missing_description_or_one_of_another_file_is_refused(saved):
    path = saved.folder / "head-1.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "weights_sha256": "0" * 64}))
    with pytest.raises(ModelError, match="not the one"):
        read(saved.folder, "head-1")
    path.unlink()
    with pytest.raises(ModelError, match="needs its description"):
        read(saved.folder, "head-1")


def test_a_head_that_changes_after_listing_is_refused(saved):
    rewrite(saved, lambda t: t["first.bias"].fill_(1.0))
    with pytest.raises(ModelError, match="changed on disk"):
        load_head(saved)


def test_a_bad_name_or_weights_are_refused_before_anything_is_written(tmp_path):
    broken = decoder()
    broken.first.bias.data.fill_(float("nan"))
    for name, head in (("Bad Name", decoder()), ("good", broken)):
        with pytest.raises(ModelError):
            save(tmp_path, name, head, META, "")
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_the_shipped_head_of_the_kind(saved):
    shipped = replace(saved, name="zz", folder=SHIPPED)
    other = replace(saved, name="aa", meta=replace(META, kind="adaptive-sequence"))
    assert default_for("adaptive-token", [saved, shipped, other]) == shipped
    assert default_for("adaptive-token", [other, saved]) == saved
    assert default_for("adaptive-token", [other]) is None


FIGURES = {"adaptive-token": "repetition", "adaptive-sequence": "suites"}


@pytest.mark.parametrize("kind", ["adaptive-token", "adaptive-sequence"])
def test_the_shipped_heads_load_and_are_small_and_carry_their_figures(kind):
    name = f"{kind}.smollm2-135m"
    checkpoint = read(SHIPPED, name)
    assert checkpoint.meta.kind == kind
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < 10_000_000
    assert load_head(checkpoint)(torch.zeros(1, checkpoint.meta.base.hidden_size)).shape == (
        1,
        len(checkpoint.meta.grid),
    )
    assert checkpoint.meta.metrics.keys() >= {"training", "matched_entropy", FIGURES[kind]}
    assert "shuffled" in checkpoint.card
    assert sum(checkpoint.meta.temperature_histogram) == pytest.approx(1)


def test_a_new_head_may_not_begin_like_a_flag_and_one_that_does_still_loads(saved, tmp_path):
    with pytest.raises(ModelError, match="the first a letter"):
        save(tmp_path, "-rf", load(saved), saved.meta, "# A card\n")
    for suffix in (".safetensors", ".json", ".md"):
        (saved.folder / f"{saved.name}{suffix}").rename(saved.folder / f"-rf{suffix}")
    base = saved.meta.base
    assert get([saved.folder], "-rf", base).sha256 == saved.sha256
    assert [head.name for head in find([saved.folder], base).usable] == ["-rf"]
