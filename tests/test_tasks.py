"""Tasks: their scores by hand, their record form, and a suite's name."""

import json
from dataclasses import replace

import pytest

from playground.decoding.request import checked_request
from playground.errors import PlaygroundError
from playground.training.labels.tasks import METRICS, SUITES, Task, tasks_of

FACT = Task(
    "t",
    "s",
    "fact",
    "planet",
    "Name the planet closest to the Sun.",
    8,
    "contains-answer",
    "train",
    answers=("Mercury",),
)
ANY = replace(FACT, family="any", metric="distinct-valid", replies=8, answers=("mercury", "venus", "earth", "mars"))


def test_an_exact_answer_is_right_or_wrong():
    assert FACT.score([" it is MERCURY."]) == 1
    assert FACT.score([" Mercurys"]) == 0


def test_a_set_scores_its_different_valid_members_by_its_size():
    assert ANY.score(["Mars", "mars!", "Venus", "a moon", "", "Mars and Earth", "x", "y"]) == 2 / 8
    assert ANY.score(["Mars"] * 8) == 1 / 8
    assert ANY.score(["moon"] * 8) == 0


@pytest.mark.parametrize("task", [FACT, ANY])
def test_a_candidate_of_another_size_is_refused(task):
    with pytest.raises(ValueError, match="holds"):
        task.score(["Mars"] * (task.replies + 1))


def test_the_request_is_what_the_task_says():
    request = replace(ANY, system="Be brief.", prefill="It is", stop=("\n",)).request(7)
    assert (request.prompt, request.system, request.prefill) == (ANY.prompt, "Be brief.", "It is")
    assert (request.stop, request.seed, request.max_tokens, request.source) == (("\n",), 7, 8, None)


def test_the_digest_says_what_is_asked_and_scored_and_no_more():
    others = {"id": "u", "suite": "z", "family": "x", "cluster": "y", "split": "dev"}
    assert replace(ANY, **others).digest == ANY.digest
    asked = {"prompt": "?", "max_tokens": 9, "metric": "few-flaws", "system": "Be brief.", "prefill": "It"}
    asked |= {"stop": (".",), "replies": 4, "answers": ("mars",)}
    assert {*others, *asked} == {*Task.__dataclass_fields__}
    assert len({ANY.digest, *(replace(ANY, **{name: value}).digest for name, value in asked.items())}) == 9


def test_the_record_is_plain_json_with_the_same_names():
    assert Task.from_record(json.loads(json.dumps(ANY.to_record()))) == ANY
    assert set(ANY.to_record()) == {*Task.__dataclass_fields__}


def test_an_unknown_suite_is_refused_with_the_names_there_are(tmp_path):
    with pytest.raises(PlaygroundError, match=", ".join(SUITES)):
        tasks_of("nothing", tmp_path)


@pytest.mark.parametrize("suite", SUITES)
def test_every_named_suite_is_known(suite, tmp_path):
    if suite == "minimal-pairs":
        assert {task.suite for task in tasks_of(suite)} == {suite}
    else:
        with pytest.raises(PlaygroundError, match="xquad_en"):  # known, but its data are not here
            tasks_of(suite, tmp_path)


def test_tasks_that_need_no_data_can_be_asked_and_scored():
    for task in tasks_of("minimal-pairs"):
        checked_request(task.request(0))
        assert task.metric in METRICS
        assert 0 <= task.score(["x"] * task.replies) <= 1
