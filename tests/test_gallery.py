"""The gallery and the training prompts: complete, distinct, and apart from one another."""

import json
from collections import Counter

import pytest

from playground.analysis.measures import contains_answer
from playground.gallery import FAMILIES, PROMPTS, load_gallery


def records(name: str) -> list[dict]:
    return json.loads((PROMPTS / name).read_text(encoding="utf-8"))


def test_every_family_has_at_least_five_prompts_and_none_is_dropped():
    gallery = load_gallery()
    counts = Counter(prompt.family for prompt in gallery)
    assert set(counts) == set(FAMILIES)
    assert min(counts.values()) >= 5
    assert len(gallery) == len(records("gallery.json"))


def test_ids_titles_and_prompts_are_unique_and_not_empty():
    gallery = load_gallery()
    for field in ("id", "title", "prompt"):
        values = [getattr(prompt, field) for prompt in gallery]
        assert len(set(values)) == len(values)
        assert all(value.strip() == value and value for value in values)


def test_a_prompt_with_many_answers_begins_the_reply():
    assert all(prompt.prefill for prompt in load_gallery() if prompt.family == "many-answers")


@pytest.mark.parametrize("name", ["stories.json", "facts.json"])
def test_training_prompts_are_unique_split_three_ways_and_not_in_the_gallery(name):
    rows = records(name)
    assert len(rows) >= 160
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    for field in ("id", "prompt"):
        assert len({row[field] for row in rows}) == len(rows)
    if name == "stories.json":
        assert not {row["prompt"] for row in rows} & {prompt.prompt for prompt in load_gallery()}


def test_a_class_of_facts_lies_in_one_split():
    splits = {}
    for row in records("facts.json"):
        splits.setdefault(row["class"], set()).add(row["split"])
    assert all(len(split) == 1 for split in splits.values())
    assert {next(iter(split)) for split in splits.values()} == {"train", "dev", "test"}


def test_a_question_does_not_give_its_answer_away():
    for row in records("facts.json"):
        assert row["answers"]
        assert not contains_answer(row["prompt"], row["answers"]), row["prompt"]
