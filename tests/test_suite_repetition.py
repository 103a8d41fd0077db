"""The suite "repetition": splits that share no cluster, openings of the asked length, and one sentence about missing data."""

import json

import pytest

from playground.errors import PlaygroundError
from playground.training.labels.suites.repetition import MAX_TOKENS, OPENING_WORDS, tasks
from playground.training.labels.tasks import tasks_of


@pytest.fixture
def data(tmp_path):
    """16 + 2 articles of 6 passages each, two questions a passage, and two story prompts, in the form of the data sets."""

    def passages(articles):
        for article in articles:
            for p in range(6):
                passage = " ".join(f"{article.lower()}{p}w{i}" for i in range(50 if p else 20))
                for question in ("Who?", "Where?"):
                    yield {"id": "q", "article": article, "passage": passage, "question": question, "answers": ["x"]}

    def write(name, records):
        (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in records))

    write("xquad_en_train.jsonl", passages(f"Article_{i:02d}" for i in range(16)))
    write("xquad_en_dev.jsonl", passages(["Zebra", "Yak"]))
    write("writing_prompts.jsonl", [{"id": f"hanna-{i}", "prompt": f"Idea {i}"} for i in range(2)])
    return tmp_path


def test_without_data_stories_and_openings_of_the_project_are_used():
    found = tasks_of("repetition")
    by_family = {family: [t for t in found if t.family == family] for family in ("stories", "continuation")}
    assert len([t for t in by_family["stories"] if t.split == "test"]) == 40
    assert {t.split for t in by_family["continuation"]} == {"dev", "test"}
    assert all(30 <= len(t.prefill.split()) <= 45 for t in by_family["continuation"])
    assert len({t.id for t in found}) == len(found)
    assert {t.max_tokens for t in found} == {MAX_TOKENS}


def test_no_cluster_is_in_two_splits(data):
    splits = {}
    for task in tasks(data):
        splits.setdefault((task.family, task.cluster), set()).add(task.split)
    assert all(len(found) == 1 for found in splits.values())


def test_passages_are_taken_once_from_every_article_and_cut_to_the_opening(data):
    continued = [task for task in tasks(data) if task.family == "continuation"]
    count = {split: [t for t in continued if t.split == split] for split in ("train", "dev", "test")}
    assert {split: len({t.cluster for t in found}) for split, found in count.items()} == {
        "train": 6,
        "dev": 2,
        "test": 10,
    }
    assert {split: len(found) for split, found in count.items()} == {"train": 6 * 5, "dev": 2 * 3, "test": 10 * 2}
    assert all(len(task.prefill.split()) == OPENING_WORDS for task in continued)
    assert not any("p0w" in task.prefill for task in continued)  # too short to be continued
    assert {"Zebra", "Yak"} <= {task.cluster for task in count["test"]}
    assert [t.id for t in tasks(data) if t.id.startswith("hanna")] == ["hanna-0", "hanna-1"]


def test_the_score_falls_with_repeats_and_is_never_negative():
    task = tasks(None)[0]
    sound = "The sun rose over the hill. She walked to the river and sat down on a stone."
    assert task.score([sound]) == 1
    assert 0 <= task.score(["You can see the " * 6]) < 0.2


def test_a_folder_without_a_file_is_refused_in_one_sentence(tmp_path, data):
    (data / "writing_prompts.jsonl").unlink()
    with pytest.raises(PlaygroundError, match=r"`--data` must name a folder that holds writing_prompts.jsonl"):
        tasks(data)
    (data / "writing_prompts.jsonl").write_text('{"id": "hanna-0"}\n')
    with pytest.raises(PlaygroundError, match=r"line 1, must be an object with id and prompt"):
        tasks(data)
