"""A head whose files are damaged, in whatever way, is a sentence in the list of refused heads; the start and the others go on."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoints import find, get, read
from models.errors import ModelError
from playground.config import Settings
from playground.parts import Request
from tests.test_shelf import BASE, put
from tests.voted import tiny_parts

NAME = "bad"
Damage = Callable[[Path], None]


def record(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / f"{NAME}.json"
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return damage


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        found = load_file(folder / f"{NAME}.safetensors")
        change(found)
        save_file(found, folder / f"{NAME}.safetensors")
        sha = hashlib.sha256((folder / f"{NAME}.safetensors").read_bytes()).hexdigest()
        record(lambda r: r.update(weights_sha256=sha))(folder)

    return damage


def text(suffix: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / f"{NAME}.{suffix}"
        path.write_bytes(change(path.read_bytes()))

    return damage


def instead(suffix: str, make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / f"{NAME}.{suffix}"
        path.unlink()
        make(path)

    return damage


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def inserted(what: bytes) -> Callable[[bytes], bytes]:
    return lambda old: old.replace(b'"metrics": {}', b'"metrics": ' + what)


SUFFIXES = ("safetensors", "json", "md")
DAMAGE: dict[str, Damage] = {
    **{f"{s} gone": instead(s, lambda path: None) for s in ("json", "md")},
    **{f"{s} is a folder": instead(s, Path.mkdir) for s in SUFFIXES},
    **{f"{s} is a pipe": instead(s, lambda path: os.mkfifo(path)) for s in SUFFIXES},
    **{f"{s} is a device": instead(s, lambda path: path.symlink_to("/dev/zero")) for s in SUFFIXES},
    **{f"{s} leads nowhere": instead(s, lambda path: path.symlink_to("nowhere")) for s in SUFFIXES},
    **{f"{s} leads to itself": instead(s, lambda path: path.symlink_to(path.name)) for s in SUFFIXES},
    **{f"{s} is huge": instead(s, sparse) for s in SUFFIXES},
    **{f"{s} empty": text(s, lambda old: b"") for s in ("safetensors", "json")},
    **{f"{s} no UTF-8": text(s, lambda old: old + b"\xff") for s in ("json", "md")},
    "header of 2^62 bytes": text("safetensors", lambda old: (2**62).to_bytes(8, "little") + old[8:]),
    "header of deep JSON": text("safetensors", lambda old: (10**6).to_bytes(8, "little") + b"[" * 10**6),
    "cut": text("safetensors", lambda old: old[:-1]),
    "deep": text("json", inserted(b"[" * 100_000 + b"]" * 100_000)),
    "rather deep": text("json", inserted(b'{"a": ' * 200 + b"1" + b"}" * 200)),
    "never closed": text("json", inserted(b"[" * 100_000)),
    "a key twice": text("json", lambda old: old.replace(b'"width": 8', b'"width": 8, "width": 8')),
    "another kind first": text("json", lambda old: old.replace(b'"kind"', b'"kind": "tempnet", "kind"')),
    **{f"{x} in the figures": text("json", inserted(b'{"x": %b}' % x.encode())) for x in ("NaN", "-Infinity", "1e999")},
    "many digits": text("json", inserted(b'{"x": %b}' % (b"9" * 10_000))),
    **{f"{value!r:.20} instead": text("json", lambda old, value=value: json.dumps(value).encode()) for value in (None, 7, "x", [], {})},
    **{f"histogram {value!r:.40}": record(lambda r, value=value: r.update(temperature_histogram=value)) for value in (
        [-0.5, 1.0, 0.5], [0.5, 0.5, 0.5], [0, 0, 0], [1.0], [], None, "abc", ["0.5", "0.25", "0.25"], [True, False, False], [10**400, 0, 0],
    )},
    **{f"half a pair in {key}": record(lambda r, key=key: r.update({key: "\ud800<script>"})) for key in ("loss", "command", "parent")},
    "half a pair in the figures": text("json", inserted(b'{"x": "\\udc00"}')),
    **{f"a loss of {value!r:.20}": record(lambda r, value=value: r.update(loss=value)) for value in ("x" * 101, "a\u202eb", "a\nb", "\u0007")},
    "a NaN share": text("json", lambda old: old.replace(b"0.5,\n  0.25", b"NaN,\n  0.25")),
    **{f"{key} is {value!r:.20}": record(lambda r, key=key, value=value: r.update({key: value})) for key in (
        "format", "kind", "base", "grid", "width", "loss", "parent", "data_sha256", "metrics", "command", "commit", "torch", "settings", "weights_sha256",
    ) for value in (7.5, [1], {"training": "x"}, True)},
    **{f"{key} is missing": record(lambda r, key=key: r.pop(key)) for key in ("format", "kind", "base", "grid", "width", "metrics", "weights_sha256")},
    "a model that is no text": record(lambda r: r["base"].update(model=["org/model"])),
    "a model's name without end": record(lambda r: r["base"].update(model="x" * 100_000)),
    "a hidden size that is true": record(lambda r: r["base"].update(hidden_size=True)),
    "another width": record(lambda r: r.update(width=2**23)),
    "no width": record(lambda r: r.update(width=0)),
    "figures that the page shows": record(lambda r: r.update(metrics={"training": {"held_out_accuracy": "high", "held_out_pairs": 1}})),
    "figures that are a list": record(lambda r: r.update(metrics={"training": [1]})),
    "a matched temperature": record(lambda r: r.update(metrics={"matched_entropy_temperature": [1]})),
    "NaN weights": tensors(lambda t: t["first.bias"].fill_(float("nan"))),
    "whole weights": tensors(lambda t: t.update({"first.bias": t["first.bias"].int()})),
    "no spread": tensors(lambda t: t["scale"].fill_(0.0)),
    "other tensors": tensors(lambda t: t.update({"y" * 100_000: torch.zeros(1)})),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_head_is_one_sentence_and_the_other_is_there(damage: Damage, tmp_path: Path) -> None:
    for name in (NAME, "good"):
        put(tmp_path, name)
    damage(tmp_path)
    found = find([tmp_path], BASE)
    assert [head.name for head in found.usable] == ["good"]
    assert len(found.refused) == 1
    assert "'bad'" in found.refused[0]
    assert "\n" not in found.refused[0]
    assert len(found.refused[0]) < 600
    with pytest.raises(ModelError):
        get([tmp_path], NAME, BASE)


def test_a_flipped_bit_of_a_head_ends_in_a_sentence_or_in_the_same_weights(tmp_path: Path) -> None:
    put(tmp_path, NAME)
    draw, weights = random.Random(5), hashlib.sha256((tmp_path / f"{NAME}.safetensors").read_bytes()).hexdigest()
    whole = {suffix: (tmp_path / f"{NAME}.{suffix}").read_bytes() for suffix in SUFFIXES}
    for number in range(300):
        suffix = SUFFIXES[number % 3]
        damaged = bytearray(whole[suffix])
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        (tmp_path / f"{NAME}.{suffix}").write_bytes(damaged)
        found = find([tmp_path], BASE)
        assert len(found.usable) + len(found.refused) == 1
        assert all(head.sha256 == weights for head in found.usable)
        assert found.refused or suffix != "safetensors"
        assert all("\n" not in sentence for sentence in found.refused)
        (tmp_path / f"{NAME}.{suffix}").write_bytes(whole[suffix])


def test_a_head_behind_a_link_is_a_head(tmp_path: Path) -> None:
    """As the Hub's cache lays them out."""
    put(tmp_path / "blobs", NAME)
    (tmp_path / "snapshot").mkdir()
    for suffix in SUFFIXES:
        (tmp_path / "snapshot" / f"{NAME}.{suffix}").symlink_to(tmp_path / "blobs" / f"{NAME}.{suffix}")
    assert read(tmp_path / "snapshot", NAME).card == f"# {NAME}\n"


def test_the_app_starts_beside_every_damaged_head_and_decodes_with_the_good_one(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    base = tiny_parts(monkeypatch, settings).shelf.base
    folder = settings.trained_heads
    for number, damage in enumerate(DAMAGE.values()):
        aside = folder / str(number)
        put(aside, NAME, base=base)
        damage(aside)
        for path in aside.iterdir():
            path.rename(folder / f"bad-{number}{path.suffix}")
    put(folder, "good", base=base)
    parts = tiny_parts(monkeypatch, settings)
    assert [head.name for head in parts.shelf.trained] == ["good"]
    assert sum("'bad-" in sentence for sentence in parts.refused_heads) == len(DAMAGE)
    traces = parts.generate(Request("Hello.", max_tokens=3), ["adaptive-token:checkpoint=good"])
    assert len(traces[0].steps) == 3
