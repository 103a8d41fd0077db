"""The suite grounded-or-varied: read from the user's folder, with classes of entities that are kept apart."""

import json

import pytest

from playground.errors import PlaygroundError
from playground.training.labels.mentions import first_mentioned
from playground.training.labels.suites.grounded_or_varied import ENTITIES, varied
from playground.training.labels.tasks import tasks_of
from tests.xquad import write_questions


def test_a_question_becomes_a_task_of_its_article(tmp_path):
    tasks = tasks_of("grounded-or-varied", write_questions(tmp_path))
    grounded = [task for task in tasks if task.family == "grounded"]
    assert len(grounded) == 4 * 6 + 2 * 6
    assert {(t.cluster, t.split) for t in grounded} == {
        *((f"Article {i}", "train") for i in range(4)),
        *((f"Article {i}", "dev") for i in (4, 5)),
    }
    task = grounded[0]
    assert "The wall of house 0 is blue." in task.prompt
    assert "Which colour has wall 0?" in task.prompt
    assert task.score([" Blue, I think"]) == 1
    assert "\n" in task.stop
    assert len({t.id for t in tasks}) == len({t.prompt for t in tasks}) == len(tasks)


def test_without_a_folder_or_its_files_one_sentence_says_which(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(PlaygroundError, match=r"xquad_en_train\.jsonl and xquad_en_dev\.jsonl") as error:
            tasks_of("grounded-or-varied", folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": "a"}', '{"id":"a","article":"b","passage":"c","question":"d","answers":[]}']
)
def test_a_line_that_is_no_question_is_named(tmp_path, line):
    path = write_questions(tmp_path) / "xquad_en_dev.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(PlaygroundError, match="line 13, must be an object with id, article"):
        tasks_of("grounded-or-varied", tmp_path)


def test_there_are_enough_templates_and_classes_and_test_classes_are_only_test():
    tasks = list(varied())
    splits: dict[str, set[str]] = {}
    for task in tasks:
        splits.setdefault(task.cluster, set()).add(task.split)
        assert (task.replies, task.metric) == (8, "distinct-valid")
    assert len(tasks) >= 60
    assert len(splits) >= 40
    assert all(len(found) == 1 for found in splits.values())
    assert sum(found == {"test"} for found in splits.values()) >= 20
    assert sum(task.split == "test" for task in tasks) >= 60


def test_every_member_is_found_as_itself_and_begins_no_other_members_name():
    for entity in json.loads(ENTITIES.read_text(encoding="utf-8")):
        members = entity["members"]
        assert len(members) >= 7, entity["class"]
        for member in members:
            assert member == member.lower()
            for name in member.split("|"):
                assert first_mentioned(f" the {name}.", members) == member, (entity["class"], name)
