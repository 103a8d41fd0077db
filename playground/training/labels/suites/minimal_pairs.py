"""The suite "minimal pairs": the same format and the same begun reply, once where any answer will do and once for a fact.

any      "Name a planet.": the share of different valid members among eight replies
fact     "Name the planet closest to the Sun.": whether an accepted answer stands in the reply
unseen   another format, for classes of the test split only and never trained on: "Which bird comes to mind?" and "Which
         bird cannot fly and lives in Antarctica?", scored alike; no article tells the two apart

One pair a class of entities (prompts/minimal_pairs.json, members in prompts/entities.json), a cluster each; the classes
of the train, dev and test splits are disjoint, and are the same in every suite. Here neither the length of the prompt
nor the format gives the intent away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playground.training.labels.suites.grounded_or_varied import ENTITIES
from playground.training.labels.tasks import Task

NAME = "minimal-pairs"
PAIRS = ENTITIES.with_name("minimal_pairs.json")
PREFILL = "One word:"
STOP = ("\n", ".", ",", "!")
OPEN = "Name {what}."
FACT = "Name the {fact}."
UNSEEN = "Which {what} {clause}?"
UNSEEN_PREFILL = "It is the"
ANY_CLAUSE = "comes to mind"


def tasks(data: Path | None = None) -> tuple[Task, ...]:
    """The pairs of every class, then the unseen format. `data` is not needed."""
    members = {e["class"]: (tuple(e["members"]), e["split"]) for e in json.loads(ENTITIES.read_text(encoding="utf-8"))}
    pairs = json.loads(PAIRS.read_text(encoding="utf-8"))
    return (*_seen(pairs, members), *_unseen(pairs, members))


def _seen(pairs: list[dict[str, Any]], members: dict[str, tuple[tuple[str, ...], str]]) -> Iterator[Task]:
    for pair in pairs:
        name = pair["class"]
        valid, split = members[name]
        yield _task("any", name, OPEN.format(what=with_article(pair["what"])), PREFILL, split, valid)
        yield _task("fact", name, FACT.format(fact=pair["fact"]), PREFILL, split, tuple(pair["answers"]))


def _unseen(pairs: list[dict[str, Any]], members: dict[str, tuple[tuple[str, ...], str]]) -> Iterator[Task]:
    for pair in pairs:
        name = pair["class"]
        valid, split = members[name]
        if split == "test":
            ask = UNSEEN.format(what=pair["what"], clause=ANY_CLAUSE)
            yield _task("unseen-any", name, ask, UNSEEN_PREFILL, split, valid)
            ask = UNSEEN.format(what=pair["what"], clause=pair["unseen_fact"])
            yield _task("unseen-fact", name, ask, UNSEEN_PREFILL, split, tuple(pair["unseen_answers"]))


def _task(kind: str, name: str, prompt: str, prefill: str, split: str, answers: tuple[str, ...]) -> Task:
    """Both halves of a pair differ in nothing but the words of the prompt and how a candidate is scored."""
    several = kind.endswith("any")
    return Task(
        id=f"{kind}-{name.replace(' ', '-')}",
        suite=NAME,
        family="unseen" if kind.startswith("unseen") else kind,
        cluster=name,
        prompt=prompt,
        max_tokens=8,
        metric="distinct-valid" if several else "contains-answer",
        split=split,
        prefill=prefill,
        stop=STOP,
        replies=8 if several else 1,
        answers=answers,
    )


def with_article(noun: str) -> str:
    """The noun with "a" or "an", by its first letter; "US state" and "unit" begin with a consonant's sound."""
    sounds_open = noun[0].lower() in "aeiou" and not noun.startswith(("US", "unit"))
    return f"{'an' if sounds_open else 'a'} {noun}"
