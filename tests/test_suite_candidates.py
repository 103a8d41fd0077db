"""Candidates of a suite's tasks on TinyLM: every temperature, whole sets, honest counts, and a run that was killed."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.exclusions import unusable
from playground.training.labels import suite_candidates
from playground.training.labels.lanes import GRID
from playground.training.labels.suite_candidates import choose, decode, make_pairs, scores_file
from playground.training.labels.tasks import Task
from tests.tiny_lm import TinyLM

LETTERS = tuple("abcdefghijklm")
EXACT = Task("e", "s", "fact", "c", "Which?", 8, "contains-answer", "train", answers=LETTERS)
SET = replace(EXACT, id="v", family="any", prompt="Any?", metric="distinct-valid", replies=8)
TASKS = [replace(task, id=f"{task.id}{i}", prompt=f"{task.prompt} {i}") for i in range(4) for task in (EXACT, SET)]


@pytest.fixture
def tiny():
    return TinyLM(end_bias=-99.0)


@pytest.mark.parametrize("task", [EXACT, SET])
def test_every_temperature_comes_equally_often_and_a_set_has_one(tiny, task):
    found = decode(tiny, task, 3, seed=1)
    assert Counter(c.temperature for c in found) == dict.fromkeys(GRID, 3)
    for candidate in found:
        assert len(candidate.traces) == task.replies
        assert {step.temperature for trace in candidate.traces for step in trace.steps} == {candidate.temperature}
        assert candidate.score == task.score([trace.text for trace in candidate.traces])
    hot = [trace.text for c in found if c.temperature == GRID[-1] for trace in c.traces]
    assert len(set(hot)) == len(hot)
    assert len({trace.text for c in found if c.temperature == 0 for trace in c.traces}) == 1


def test_the_batch_a_reply_ran_in_leaves_it_as_it_was(tiny, monkeypatch):
    whole = decode(tiny, SET, 2, seed=1)
    monkeypatch.setattr(suite_candidates, "ROWS", 10)
    assert decode(tiny, SET, 2, seed=1) == whole


def texts(candidates):
    return [(c.temperature, trace.text) for c in candidates for trace in c.traces if c.temperature]


def test_another_seed_and_another_task_give_other_replies(tiny):
    first = texts(decode(tiny, EXACT, 2, seed=1))
    assert texts(decode(tiny, EXACT, 2, seed=1)) == first
    assert texts(decode(tiny, EXACT, 2, seed=2)) != first
    assert texts(decode(tiny, replace(EXACT, id="f"), 2, seed=1)) != first  # no random numbers are shared


def test_pairs_are_sets_of_two_temperatures_that_the_trainer_takes(tiny):
    counts = Counter()
    made = list(make_pairs(SET, decode(tiny, SET, 2, seed=1), "every", 10, 0, counts))
    assert 0 < len(made) == counts["pairs"] <= 10
    for vote in made:
        assert len(vote.a) == len(vote.b) == 8
        assert SET.score([t.text for t in vote.a]) > SET.score([t.text for t in vote.b])
        assert unusable(vote, "sequence") is None
        assert Preference.from_record(json.loads(json.dumps(vote.to_record()))) == vote
    total = 14 * 13 // 2
    assert sum(counts.values()) == total


def test_the_tasks_of_a_split_are_thinned_within_families_and_clusters():
    tasks = [
        replace(t, id=f"{t.id}-{c}", cluster=c, split=s) for t in TASKS for c, s in (("x", "train"), ("y", "test"))
    ]
    assert {task.cluster for task in choose(tasks, "test")} == {"y"}
    thinned = choose(tasks, per_cluster=2)
    assert Counter((task.family, task.cluster) for task in thinned) == {
        (f, c): 2 for f in ("fact", "any") for c in "xy"
    }
    assert len(choose(tasks, limit=5)) == 5
    assert choose(tasks) == choose(list(reversed(tasks)))
    assert {task.family for task in choose(tasks, family="any")} == {"any"}
    with pytest.raises(PlaygroundError, match="any, fact"):
        choose(tasks, family="facts")
    with pytest.raises(PlaygroundError, match="train, dev, test, all"):
        choose(tasks, "dev")


def test_a_file_is_not_continued_with_other_tasks(tmp_path):
    out = tmp_path / "labels.jsonl"
    sample(out)
    with pytest.raises(PlaygroundError, match="tasks"):
        suite_candidates.run(TinyLM(end_bias=-99.0), TASKS[1:], out, each=2, sets=1, pairs=5)


def test_a_file_is_not_continued_with_other_prompts_under_the_same_ids(tmp_path):
    out, more = tmp_path / "labels.jsonl", {"each": 2, "sets": 1, "pairs": 5}
    sample(out)
    for changed in ({"prompt": "New wording"}, {"family": "other"}):
        with pytest.raises(PlaygroundError, match="another wording"):
            suite_candidates.run(object.__new__(Idle), [replace(TASKS[0], **changed), *TASKS[1:]], out, **more)
    suite_candidates.run(object.__new__(Idle), [replace(TASKS[0], cluster="regrouped"), *TASKS[1:]], out, **more)


def sample(out: Path, model=None):
    return suite_candidates.run(model or TinyLM(end_bias=-99.0), TASKS, out, each=2, sets=1, pairs=5)


def test_the_file_holds_what_the_manifest_counts_and_every_task_has_its_scores(tmp_path):
    out = tmp_path / "labels.jsonl"
    counts = sample(out)
    lines = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    assert len(lines) == counts["pairs"] > 0
    assert counts["prompts"] == len(TASKS)
    assert counts["candidates"] == 4 * 7 * 2 + 4 * 7
    scores = [json.loads(line) for line in scores_file(out).read_text().splitlines()]
    assert {row["id"] for row in scores} == {task.id for task in TASKS}
    for row in scores:
        assert {name: len(values) for name, values in row["scores"].items()} == {
            f"fixed:temperature={t:g}": 2 if row["id"].startswith("e") else 1 for t in GRID
        }
    again = sample(out, model=object.__new__(Idle))
    assert again == counts


class Idle(TinyLM):
    """A model that cannot decode: a finished run asks it nothing."""

    name, revision, precision = "tiny", "seed-0", "float32"

    def begin(self, ids):
        raise AssertionError("nothing is left to decode")


CHILD = """
import sys, time
from pathlib import Path
from tests.test_suite_candidates import sample
from tests.tiny_lm import TinyLM

class Slow(TinyLM):
    def begin(self, ids):
        time.sleep(0.2)
        return super().begin(ids)

sample(Path(sys.argv[1]), Slow(end_bias=-99.0))
"""


@pytest.mark.slow
def test_a_run_that_was_killed_and_started_again_ends_with_the_same_bytes(tmp_path):
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    sample(whole)
    command = [sys.executable, "-c", CHILD, str(killed)]
    child = subprocess.Popen(command, cwd=Path(__file__).resolve().parent.parent)
    log = killed.with_name("killed.jsonl.progress")
    while child.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert 3 <= log.read_bytes().count(b"\n") < 1 + len(TASKS)
    assert subprocess.run(command, cwd=Path(__file__).resolve().parent.parent, check=False).returncode == 0
    assert killed.read_bytes() == whole.read_bytes()
    assert scores_file(killed).read_bytes() == scores_file(whole).read_bytes()
    manifests = [path.with_name(path.name + ".manifest.json").read_bytes() for path in (killed, whole)]
    assert manifests[0] == manifests[1]
