"""A file of records that survives a kill at any byte."""

import json
from collections import Counter

import pytest

from playground.errors import PlaygroundError
from playground.training.labels.journal import WORDING, Journal, wording

SETTINGS = {"seed": 0, "grid": [0.0, 0.2]}
NAMES = ("a", "b", "ü")


def run(out, settings=SETTINGS, stop_after=None):
    with Journal(out, settings) as journal:
        for name in [name for name in NAMES if name not in journal.counts][:stop_after]:
            journal.write(name, ({"id": name, "n": n} for n in range(3)), Counter(prompts=1, pairs=3), {"note": name})
        if stop_after is None:
            journal.finish()
        return journal.total, journal.notes


def progress(out):
    return out.with_name(out.name + ".progress")


def test_a_file_cut_at_any_byte_ends_as_if_it_had_not_been(tmp_path):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    total, notes = run(whole)
    assert total == Counter(prompts=3, pairs=9)
    assert notes == {name: {"note": name} for name in NAMES}
    records, log = whole.read_bytes(), progress(whole).read_bytes()
    for kept in range(0, len(log) + 1, 7):
        reached = [json.loads(line)[1] for line in log[:kept].split(b"\n")[1:-1]]
        for half in (0, 5) if b"\n" in log[:kept] else (0,):  # records are written once the settings are
            progress(cut).write_bytes(log[:kept])
            cut.write_bytes(records[: (reached[-1] if reached else 0) + half])
            assert run(cut) == (total, notes)
            assert cut.read_bytes() == records
            assert progress(cut).read_bytes() == log


def test_the_manifest_names_settings_counts_and_the_digest(tmp_path):
    run(tmp_path / "x.jsonl")
    manifest = json.loads((tmp_path / "x.jsonl.manifest.json").read_text())
    assert manifest["counts"] == {"pairs": 9, "prompts": 3}
    assert manifest["grid"] == [0.0, 0.2]
    assert len(manifest["sha256"]) == 64


def test_other_settings_are_refused_by_name(tmp_path):
    run(tmp_path / "x.jsonl", stop_after=1)
    with pytest.raises(PlaygroundError, match="begun with another seed"):
        run(tmp_path / "x.jsonl", {**SETTINGS, "seed": 1})


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("mine\n")
    with pytest.raises(PlaygroundError, match="another file"):
        run(path)
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize(
    "damage",
    [b"", b"notes of somebody", b"notes\n", b"[]\n", b'{"seed": 0, "grid": [0.0, 0.2]}\n["a", 1]\n', b"\xff\n"],
)
def test_a_damaged_log_is_refused_and_nothing_is_written(tmp_path, damage):
    path = tmp_path / "x.jsonl"
    path.write_text("mine\n")
    progress(path).write_bytes(damage)
    with pytest.raises(PlaygroundError, match="name another file"):
        run(path)
    assert (path.read_text(), progress(path).read_bytes()) == ("mine\n", damage)


def test_a_file_is_not_continued_with_another_wording(tmp_path):
    path, settings = tmp_path / "x.jsonl", {**SETTINGS, WORDING: wording([("a", "Who?"), ("b", "When?")])}
    run(path, settings, stop_after=1)
    with pytest.raises(PlaygroundError, match="begun with another wording"):
        run(path, {**settings, WORDING: wording([("a", "Who?"), ("b", "Where?")])})
    run(path, {**settings, WORDING: wording([("b", "When?"), ("a", "Who?")])})  # in another order


def test_a_file_of_a_former_version_is_continued_and_gets_the_wording(tmp_path):
    """It was begun without, so that nothing can be checked; what it ends with is the same."""
    former, whole = tmp_path / "former.jsonl", tmp_path / "whole.jsonl"
    settings = {**SETTINGS, WORDING: wording([("a", "Who?")])}
    run(whole, settings)
    run(former, stop_after=1)
    assert run(former, settings, stop_after=1)[0] == Counter(prompts=2, pairs=6)
    with pytest.raises(PlaygroundError, match="wording"):
        run(former, {**SETTINGS, WORDING: wording([("a", "What?")])})
    run(former, settings)
    for name in ("", ".progress", ".manifest.json"):
        assert (tmp_path / f"former.jsonl{name}").read_bytes() == (tmp_path / f"whole.jsonl{name}").read_bytes()


def test_records_that_vanished_are_noticed(tmp_path):
    path = tmp_path / "x.jsonl"
    run(path)
    path.write_text("")
    with pytest.raises(PlaygroundError, match="holds less"):
        run(path)
