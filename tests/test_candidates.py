"""Candidates on TinyLM: complete traces, honest pairs, and a run that goes on where it was cut."""

import json
from collections import Counter

import pytest

from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.labels import candidates
from playground.training.labels.lanes import GRID, UNIFORM, replies, request_for, uniform
from playground.training.labels.rewards import Reward

HEAVIER = Reward(
    "heavier",
    "facts",
    "sum of code points",
    lambda record, text: float(sum(map(ord, text))),
    lambda winner, loser: True,
)


@pytest.fixture
def prompts(tmp_path):
    rows = [
        {"id": f"p{i}", "split": "train" if i else "dev", "prompt": f"Prompt {i}?", "answers": list("abcdefghij")}
        for i in range(4)
    ]
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(rows))
    return path


def sampled(tiny, level, n=12, **settings):
    heads = {UNIFORM: uniform(level, tiny.hidden_size)}
    specs = [f"adaptive-{level}:checkpoint={UNIFORM},select=sample"] * n
    return replies(
        tiny, request_for({"prompt": "Hello"}, seed=3, max_tokens=settings.get("max_tokens", 20)), specs, heads
    )


def test_every_step_of_a_candidate_names_its_place_in_the_grid(tiny):
    traces = sampled(tiny, "token")
    steps = [step for trace in traces for step in trace.steps]
    assert all(step.temperature == GRID[step.grid_index] for step in steps)
    assert {step.grid_index for step in steps} == set(range(len(GRID)))
    assert {trace.replica for trace in traces} == set(range(12))


def test_sequence_candidates_hold_one_temperature_and_cover_the_grid_first(tiny):
    traces = sampled(tiny, "sequence", n=len(GRID))
    assert all(len({step.temperature for step in trace.steps}) == 1 for trace in traces)
    assert {trace.steps[0].temperature for trace in traces} == set(GRID)


def test_pairs_take_the_best_against_the_worst(tiny):
    traces, counts = sampled(tiny, "token"), Counter()
    made = list(candidates.make_pairs({"id": "x", "prompt": "Hello"}, traces, HEAVIER, "token", 2, counts))
    weights = sorted(HEAVIER.score({}, trace.text) for trace in traces)
    assert [HEAVIER.score({}, p.chosen[0].text) for p in made] == weights[:-3:-1]
    assert [HEAVIER.score({}, p.rejected[0].text) for p in made] == weights[:2]
    assert counts["pairs"] == len(made)
    assert {(p.source, p.outcome) for p in made} == {("verifier", "a")}


def test_pairs_that_teach_nothing_are_dropped_and_counted(tiny):
    traces = sampled(tiny, "sequence", n=14)
    equal = Reward("equal", "facts", "", lambda record, text: 1.0, lambda winner, loser: True)
    never = Reward("never", "facts", "", HEAVIER.score, lambda winner, loser: False)
    same = [t for t in traces if t.steps[0].temperature == 0.8]
    record = {"id": "x", "prompt": "Hello"}
    for reward, chosen, reason in (
        (equal, traces, "dropped: equal reward"),
        (never, traces, "dropped: fewer dictionary words"),
        (HEAVIER, same, "dropped: equal temperature"),
    ):
        counts = Counter()
        assert list(candidates.make_pairs(record, chosen, reward, "sequence", 1, counts)) == []
        assert counts == {reason: 1}


def run(tiny, prompts, out, **settings):
    return candidates.run(tiny, prompts, "contains-answer", out, n=12, pairs=2, max_tokens=12, **settings)


def test_the_file_is_preference_1_with_a_manifest_and_only_the_split_asked_for(tiny, prompts, tmp_path):
    out = tmp_path / "out" / "data.jsonl"
    counts = run(tiny, prompts, out)
    read = [Preference.from_record(json.loads(line)) for line in out.read_text().splitlines()]
    assert counts["prompts"] == 3
    assert counts["candidates"] == 36
    assert len(read) == counts["pairs"] > 0
    assert "Prompt 0?" not in {preference.prompt for preference in read}
    manifest = json.loads((tmp_path / "out" / "data.jsonl.manifest.json").read_text())
    assert manifest["counts"] == dict(counts)


def test_a_run_that_was_cut_goes_on_and_ends_with_the_same_file(tiny, prompts, tmp_path):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    run(tiny, prompts, whole)
    run(tiny, prompts, cut)
    log = cut.with_name("cut.jsonl.progress")
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[0] + lines[1] + '["half')
    with cut.open("a") as file:
        file.write('{"half": ')
    run(tiny, prompts, cut)

    assert cut.read_bytes() == whole.read_bytes()
    assert whole.read_bytes()


def test_a_file_that_holds_no_prompts_is_refused(tiny, tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text("{}")
    with pytest.raises(PlaygroundError, match="must be"):
        run(tiny, path, tmp_path / "out.jsonl")


def test_a_run_is_not_continued_with_another_wording(tiny, prompts, tmp_path):
    out = tmp_path / "out.jsonl"
    run(tiny, prompts, out)
    before = out.read_bytes()
    rows = json.loads(prompts.read_text())
    for changed in ({"prompt": "Another prompt?"}, {"answers": ["z"]}, {"system": "Be brief."}):
        prompts.write_text(json.dumps([*rows[:-1], {**rows[-1], **changed}]))
        with pytest.raises(PlaygroundError, match="begun with another wording"):
            run(tiny, prompts, out)
    assert out.read_bytes() == before
    prompts.write_text(json.dumps([{**row, "class": "regrouped"} for row in reversed(rows)]))
    run(tiny, prompts, out)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"id": "p2"}, "has 'p2' twice"),
        ({"id": "p0"}, "has 'p0' twice"),  # which is of another split
        ({"id": 3}, "`id` must be a text"),
        ({"id": ["p"]}, "`id` must be a text"),
        ({"prompt": 3}, "`prompt` must be a text"),
        ({"system": 3}, "`system` must be a text"),
        ({"prefill": None}, "`prefill` must be a text"),
        ({"answers": None}, "`answers` must be a list of texts"),
    ],
)
def test_a_record_that_cannot_be_asked_is_refused(tiny, prompts, tmp_path, changed, says):
    rows = json.loads(prompts.read_text())
    prompts.write_text(json.dumps([*rows[:-1], {**rows[-1], **changed}]))
    with pytest.raises(PlaygroundError, match=says):
        run(tiny, prompts, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
