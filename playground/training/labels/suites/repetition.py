"""The suite "repetition": long replies, in which a low temperature repeats itself and a high one falls apart.

stories       "Write a short story about …" (prompts/stories.json, written for this project); with a data folder also the
              prompts of HANNA (MIT), all of them for test; one cluster a prompt
continuation  the first words of a passage begin the reply, which goes on from there; with a data folder the passages of
              XQuAD in English (CC BY-SA 4.0), one cluster an article and no article in two splits; without one the
              openings written for this project (prompts/openings.json), one cluster an opening

There is no right answer: the score is 1 minus the flaws of a reply (analysis/flaws.py), which is what labels are made of.
The evaluation keeps repetition and coherence apart (training/evaluation/repetition.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models import strict_json
from playground.errors import PlaygroundError
from playground.training.labels.tasks import Task

NAME = "repetition"
METRIC = "few-flaws"
MAX_TOKENS = 96
OPENING_WORDS = 40
PROMPTS = Path(__file__).resolve().parents[3] / "prompts"
STORIES, OPENINGS = PROMPTS / "stories.json", PROMPTS / "openings.json"
HANNA = "writing_prompts.jsonl"
XQUAD = ("xquad_en_train.jsonl", "xquad_en_dev.jsonl")
PASSAGES = {"train": 5, "dev": 3, "test": 2}  # of every article


def tasks(data: Path | None) -> tuple[Task, ...]:
    """All stories, then all continuations. Raises PlaygroundError where the folder `data` lacks a file."""
    continued = openings() if data is None else passages(data)
    return (*stories(data), *continued)


def stories(data: Path | None) -> Iterator[Task]:
    """The project's own prompts with their splits, then those of the data folder."""
    for record in json.loads(STORIES.read_text(encoding="utf-8")):
        yield _task(record["id"], "stories", record["id"], record["prompt"], record["split"])
    if data is not None:
        for record in _lines(data / HANNA, ("id", "prompt")):
            prompt = f"Write a short story about this idea: {record['prompt']}"
            yield _task(record["id"], "stories", record["id"], prompt, "test")


def openings() -> Iterator[Task]:
    """The project's own openings; none is for training."""
    for record in json.loads(OPENINGS.read_text(encoding="utf-8")):
        yield _continued(record["id"], record["id"], record["topic"], record["opening"], record["split"])


def passages(data: Path) -> Iterator[Task]:
    """The first OPENING_WORDS words of some passages of every article, article by article in the order of their names.

    The articles of the second file are for test, as are four in eight of the first; three train, one is for dev.
    """
    first, second = (_articles(data / name) for name in XQUAD)
    splits = {
        article: ("train", "train", "train", "dev")[i % 8] if i % 8 < 4 else "test" for i, article in enumerate(first)
    }
    for article, texts in {**first, **second}.items():
        split = splits.get(article, "test")
        long = [text for text in texts if len(text.split()) > OPENING_WORDS]
        for number, text in enumerate(long[: PASSAGES[split]], 1):
            opening = " ".join(text.split()[:OPENING_WORDS])
            topic = article.replace("_", " ")
            yield _continued(f"continue-{article}-{number}", article, topic, opening, split)


def _articles(path: Path) -> dict[str, list[str]]:
    """The different passages of every article, articles in the order of their names."""
    found: dict[str, dict[str, None]] = {}
    for record in _lines(path, ("article", "passage")):
        found.setdefault(record["article"], {})[record["passage"]] = None
    return {article: list(found[article]) for article in sorted(found)}


def _continued(name: str, cluster: str, topic: str, opening: str, split: str) -> Task:
    return _task(name, "continuation", cluster, f"Write a few paragraphs about {topic}.", split, opening)


def _task(name: str, family: str, cluster: str, prompt: str, split: str, prefill: str = "") -> Task:
    return Task(name, NAME, family, cluster, prompt, MAX_TOKENS, METRIC, split, prefill=prefill)


def _lines(path: Path, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise PlaygroundError(
            f"`--data` must name a folder that holds {', '.join((HANNA, *XQUAD))}; {path} is missing."
        )
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = strict_json.loads(line)
            if not all(isinstance(record[name], str) and record[name] for name in names):
                raise ValueError(line)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PlaygroundError(f"{path}, line {number}, must be an object with {' and '.join(names)}.") from error
        yield record
