"""The suite "grounded or varied": questions with one right answer in a passage, and prompts where variety is wanted.

grounded  XQuAD in English (Artetxe et al. 2020, CC BY-SA 4.0), read from the folder the user names; one cluster an
          article; the score says whether an accepted answer stands in the reply
varied    "Name a random animal." with the reply begun ("My random animal is"), written for this project
          (prompts/entities.json); one cluster a class of entities; the score is the share of different valid members
          among eight replies

Whoever tells the two kinds of prompt apart does well here: a win shows the detection of the kind of prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from models import strict_json
from playground.errors import PlaygroundError
from playground.training.labels.tasks import Task

NAME = "grounded-or-varied"
FILES = {"train": "xquad_en_train.jsonl", "dev": "xquad_en_dev.jsonl"}
ENTITIES = Path(__file__).resolve().parents[3] / "prompts" / "entities.json"
QUESTION = "{passage}\n\nQuestion: {question}"
PREFILL = "According to the passage,"


def tasks(data: Path | None) -> tuple[Task, ...]:
    """All grounded tasks of the folder `data`, then all varied ones."""
    return (*grounded(data), *varied())


def grounded(data: Path | None) -> Iterator[Task]:
    """One task a question. Raises PlaygroundError where the folder lacks the files or a line is no question."""
    if data is None:
        raise PlaygroundError(f"`--data` must name a folder that holds {' and '.join(FILES.values())}.")
    for split, name in FILES.items():
        path = data / name
        if not path.is_file():
            raise PlaygroundError(
                f"`--data` must name a folder that holds {' and '.join(FILES.values())}; {path} is missing."
            )
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                yield _question(strict_json.loads(line), split)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise PlaygroundError(
                    f"{path}, line {number}, must be an object with id, article, passage, question and answers."
                ) from error


def _question(record: dict[str, object], split: str) -> Task:
    answers = record["answers"]
    if not isinstance(answers, list) or not answers:
        raise TypeError("answers")
    return Task(
        id=str(record["id"]),
        suite=NAME,
        family="grounded",
        cluster=str(record["article"]),
        prompt=QUESTION.format(passage=record["passage"], question=record["question"]),
        max_tokens=32,
        metric="contains-answer",
        split=split,
        prefill=PREFILL,
        stop=("\n",),
        answers=tuple(map(str, answers)),
    )


def varied() -> Iterator[Task]:
    """One task a template of prompts/entities.json."""
    for entity in json.loads(ENTITIES.read_text(encoding="utf-8")):
        for index, template in enumerate(entity["random"]):
            yield Task(
                id=f"varied-{entity['class'].replace(' ', '-')}-{index}",
                suite=NAME,
                family="varied",
                cluster=entity["class"],
                prompt=template["prompt"],
                max_tokens=8,
                metric="distinct-valid",
                split=entity["split"],
                prefill=template["prefill"],
                stop=("\n", ".", ",", "!"),
                replies=8,
                answers=tuple(entity["members"]),
            )
