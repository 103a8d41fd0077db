"""The score table: the same whatever the batches, continued after a kill, cut where a line is half."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from playground.decoding.sampling import stream_key
from playground.errors import PlaygroundError
from playground.training.evaluation import scores
from playground.training.evaluation.plan import Plan, Stratum, plan_of, setting
from playground.training.labels.lanes import replies
from playground.training.labels.tasks import Task

PLAN = Plan(
    "invented",
    (
        Stratum("fact", "fact", "contains-answer", "extraction", 3, 2),
        Stratum("any", "any", "distinct-valid", "writing", 2, 2),
    ),
    {"both": ("fact", "any")},
    grid=(0.0, 1.0),
)


def task(name: str, family: str, split: str = "test", cluster: str = "c") -> Task:
    metric = {"fact": "contains-answer", "any": "distinct-valid"}[family]
    count = {"fact": 1, "any": 4}[family]
    letters = tuple("abcdefghij")
    return Task(name, "invented", family, cluster, f"Prompt {name}", 6, metric, split, replies=count, answers=letters)


TASKS = (task("f0", "fact"), task("a0", "any"), task("f1", "fact"))


def test_a_table_holds_every_setting_with_as_many_candidates_as_the_plan_says(tiny, tmp_path):
    table = scores.run(tiny, TASKS, PLAN, tmp_path / "t.jsonl")
    assert set(table) == {"f0", "a0", "f1"}
    for name, row in table.items():
        assert set(row) == set(PLAN.settings)
        plain, filtered = (3, 2) if name.startswith("f") else (2, 2)
        for key, values in row.items():
            assert len(values) == (1 if key == setting(0) else filtered if key in PLAN.filtered else plain)
    kept, texts = scores.read(tmp_path / "t.jsonl")
    assert kept == table
    for item in TASKS:
        for key, sets in texts[item.id].items():
            assert [item.score(replies) for replies in sets] == table[item.id][key]


def test_batches_change_nothing_and_read_the_prompt_once(tiny, tmp_path, monkeypatch):
    whole = scores.candidates(tiny, TASKS[1], PLAN, seed=5)
    reads = []
    begin = tiny.begin
    monkeypatch.setattr(tiny, "begin", lambda ids: reads.append(len(ids)) or begin(ids), raising=False)
    monkeypatch.setattr(scores, "ROWS", 3)
    assert scores.candidates(tiny, TASKS[1], PLAN, seed=5) == whole
    assert len(reads) == 1
    request = TASKS[1].request(stream_key(5, "a0"))
    alone = replies(tiny, request, [setting(1.0)] * 8, {})  # the naive way: one batch, this setting alone
    assert [trace.text for trace in alone] == [text for texts in whole[setting(1.0)] for text in texts]


def test_tasks_share_no_random_numbers(tiny):
    """Two tasks that ask the same: what the one drew says nothing of what the other draws."""
    first, second = (replace(TASKS[1], id=name) for name in ("a1", "a2"))
    found = [scores.candidates(tiny, item, PLAN, seed=5) for item in (first, second, first)]
    assert found[0] == found[2]
    assert found[0][setting(0.0)] == found[1][setting(0.0)]
    assert found[0][setting(1.0)] != found[1][setting(1.0)]


@pytest.mark.parametrize("both", [True, False])  # False: killed between the two files
def test_a_killed_run_goes_on_to_the_same_table(tiny, tmp_path, both):
    whole = scores.run(tiny, TASKS, PLAN, tmp_path / "a.jsonl")
    scores.run(tiny, TASKS, PLAN, tmp_path / "b.jsonl")
    for path in (tmp_path / "b.jsonl", scores.replies_file(tmp_path / "b.jsonl"))[: 1 + both]:
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(b"{") + 9])  # killed within the last line
    assert scores.run(tiny, TASKS, PLAN, tmp_path / "b.jsonl") == whole
    for suffix in ("", ".replies.jsonl"):
        assert (tmp_path / f"b.jsonl{suffix}").read_bytes() == (tmp_path / f"a.jsonl{suffix}").read_bytes()


def test_reading_a_table_that_is_being_written_leaves_it_as_it_is(tiny, tmp_path):
    table = scores.run(tiny, TASKS, PLAN, tmp_path / "t.jsonl")
    for path in (tmp_path / "t.jsonl", scores.replies_file(tmp_path / "t.jsonl")):
        with path.open("a") as file:
            file.write('{"id": "f1", "sco')
    before = (tmp_path / "t.jsonl").read_bytes()
    assert scores.read(tmp_path / "t.jsonl")[0] == table
    assert (tmp_path / "t.jsonl").read_bytes() == before


def test_all_tasks_have_their_plain_settings_before_any_has_a_filter(tiny, tmp_path):
    scores.run(tiny, TASKS, PLAN, tmp_path / "t.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [set(line["scores"]) & set(PLAN.filtered) == set() for line in lines] == [True] * 3 + [False] * 3


def test_a_table_of_another_seed_is_not_continued(tiny, tmp_path):
    scores.run(tiny, TASKS[:1], PLAN, tmp_path / "t.jsonl", seed=1)
    with pytest.raises(PlaygroundError, match="another seed"):
        scores.run(tiny, TASKS, PLAN, tmp_path / "t.jsonl", seed=2)


def test_a_table_is_extended_with_tasks_but_not_with_others_under_the_same_ids(tiny, tmp_path):
    out = tmp_path / "t.jsonl"
    scores.run(tiny, TASKS[:1], PLAN, out)
    before = out.read_bytes()
    regrouped = [replace(TASKS[0], cluster="d"), *TASKS[1:]]
    for changed in (replace(TASKS[0], prompt="New wording"), replace(TASKS[0], answers=("z",))):
        with pytest.raises(PlaygroundError, match="another task under the id 'f0'"):
            scores.run(tiny, [changed, *TASKS[1:]], PLAN, out)
    assert out.read_bytes() == before
    assert set(scores.run(tiny, regrouped, PLAN, out)) == {"f0", "a0", "f1"}
    assert json.loads(scores.manifest_file(out).read_text())["tasks"] == {t.id: t.digest for t in TASKS}


def test_a_manifest_without_tasks_is_accepted_and_completed(tiny, tmp_path):
    out = tmp_path / "t.jsonl"
    table = scores.run(tiny, TASKS, PLAN, out)
    whole, rows = scores.manifest_file(out).read_bytes(), out.read_bytes()
    scores.manifest_file(out).write_text(json.dumps(scores.made_by(out)))
    assert "tasks" not in scores.made_by(out)
    assert scores.run(tiny, TASKS, PLAN, out) == table
    assert (scores.manifest_file(out).read_bytes(), out.read_bytes()) == (whole, rows)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.replies.jsonl"])
def test_a_file_that_is_no_table_is_left_alone(tiny, tmp_path, name):
    (tmp_path / name).write_text("mine\nand no line's end")
    with pytest.raises(PlaygroundError, match="another place"):
        scores.run(tiny, TASKS, PLAN, tmp_path / "t.jsonl")
    assert (tmp_path / name).read_text() == "mine\nand no line's end"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"tasks": 3}'])
def test_a_damaged_manifest_is_refused_and_the_table_left_alone(tiny, tmp_path, damage):
    out = tmp_path / "t.jsonl"
    scores.run(tiny, TASKS[:1], PLAN, out)
    before = out.read_bytes()
    scores.manifest_file(out).write_text(damage)
    for use in (lambda: scores.run(tiny, TASKS, PLAN, out), lambda: scores.made_by(out)):
        with pytest.raises(PlaygroundError, match="cannot be read; remove both"):
            use()
    assert (out.read_bytes(), scores.manifest_file(out).read_text()) == (before, damage)


def test_a_kill_while_the_manifest_is_written_leaves_the_former_one(tiny, tmp_path, monkeypatch):
    out = tmp_path / "t.jsonl"
    scores.run(tiny, TASKS[:1], PLAN, out)
    before = scores.manifest_file(out).read_bytes()

    def killed(self, content):
        self.open("wb").close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        scores.run(tiny, TASKS, PLAN, out)
    assert scores.manifest_file(out).read_bytes() == before


def test_held_out_clusters_are_measured_evenly_and_others_once():
    plan = Plan(
        "invented",
        (
            Stratum("fact", "fact", "contains-answer", "extraction", 1, 1, per_cluster=2, crossed=True),
            Stratum("any", "any", "distinct-valid", "writing", 1, 1),
        ),
        {},
    )
    tasks = [task(f"f{i}", "fact", "train", f"article {i // 5}") for i in range(10)]
    tasks += [task(f"a{i}", "any", "train" if i < 4 else "test", f"class {i // 2}") for i in range(8)]
    assert [t.id for t in plan.measured(tasks)] == ["f0", "f2", "f5", "f7", "a0", "a2", "a4", "a5", "a6", "a7"]


def test_the_plan_has_the_opponents_that_the_issue_names():
    plan = plan_of("grounded-or-varied")
    assert plan.grid == (0, 0.2, 0.4, 0.6, 0.8, 1, 1.2)
    assert len(plan.plain) == 7
    assert len(plan.filtered) == 24
    assert "fixed:temperature=1.2,min_p=0.1" in plan.settings
    assert "fixed:temperature=0.7" in plan.settings  # the hand table's
    assert json.loads(json.dumps(scores.manifest(plan, 0)))["samples"] == {"grounded": [4, 2], "varied": [2, 1]}
    with pytest.raises(PlaygroundError, match="grounded-or-varied"):
        plan_of("grounded")
