"""A task: what is asked, how many replies make one candidate, and the score of a candidate.

Where many answers are right, one reply cannot be scored: eight replies at one temperature are a candidate, and its score
is the number of different valid answers among them by eight. Single replies would be labelled best at the lowest
temperature although variety is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from playground.analysis.flaws import flaws
from playground.analysis.measures import contains_answer
from playground.decoding.trace import Request, canonical_json
from playground.errors import PlaygroundError
from playground.training.labels.mentions import distinct_mentioned

TUPLES = ("stop", "answers")
ASKED = ("prompt", "system", "prefill", "stop", "max_tokens", "replies", "metric", "answers")
SUITES = ("grounded-or-varied", "minimal-pairs", "repetition")


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt of a suite and its verifiable score.

    family    the kind of prompt ("grounded", "varied", …): the unit of the weights and of the oracle
    cluster   the article or the class of entities: the unit of intervals and of folds
    prefill   begins the reply; part of the prompt, not of the reply
    replies   how many replies at one setting make one candidate: 1 for an exact answer, 8 for a set
    metric    a name of METRICS
    answers   accepted answers, or the valid members of the class (other names of a member behind a bar)
    split     "train", "dev" or "test"
    """

    id: str
    suite: str
    family: str
    cluster: str
    prompt: str
    max_tokens: int
    metric: str
    split: str
    system: str | None = None
    prefill: str = ""
    stop: tuple[str, ...] = ()
    replies: int = 1
    answers: tuple[str, ...] = ()

    def score(self, texts: Sequence[str]) -> float:
        """The score in [0, 1] of one candidate. Raises ValueError unless `texts` holds `replies` texts."""
        if len(texts) != self.replies:
            raise ValueError(f"A candidate of {self.id} holds {self.replies} replies, got {len(texts)}.")
        return METRICS[self.metric](self, texts)

    def request(self, seed: int) -> Request:
        """What is decoded, with the seed of every reply."""
        return Request(self.prompt, self.system, self.prefill, self.stop, seed, self.max_tokens)

    @property
    def digest(self) -> str:
        """Of all that decides the replies to it and their scores, in twelve digits; clusters may be regrouped at will."""
        record = self.to_record()
        return hashlib.sha256(canonical_json({name: record[name] for name in ASKED}).encode()).hexdigest()[:12]

    def to_record(self) -> dict[str, Any]:
        """A plain JSON object with the names of the fields."""
        return {name: list(value) if name in TUPLES else value for name, value in asdict(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Task:
        """The inverse of `to_record`. Raises TypeError for names that a task does not have."""
        values: dict[str, Any] = {name: tuple(v) if name in TUPLES else v for name, v in record.items()}
        return cls(**values)


def _contains_answer(task: Task, texts: Sequence[str]) -> float:
    return sum(contains_answer(text, task.answers) for text in texts) / len(texts)


def _distinct_valid(task: Task, texts: Sequence[str]) -> float:
    return distinct_mentioned(texts, task.answers) / len(texts)


def _few_flaws(task: Task, texts: Sequence[str]) -> float:
    return sum(max(0.0, 1 - flaws(text)) for text in texts) / len(texts)


METRICS: Mapping[str, Callable[[Task, Sequence[str]], float]] = {
    "contains-answer": _contains_answer,
    "distinct-valid": _distinct_valid,
    "few-flaws": _few_flaws,
}


def tasks_of(suite: str, data: Path | None = None) -> tuple[Task, ...]:
    """All tasks of a suite, in a fixed order. Raises PlaygroundError for an unknown suite or a folder without its data."""
    from playground.training.labels.suites import (  # the suites are made of tasks
        grounded_or_varied,
        minimal_pairs,
        repetition,
    )

    readers = {module.NAME: module.tasks for module in (grounded_or_varied, minimal_pairs, repetition)}
    if suite not in readers:
        raise PlaygroundError(f"`suite` must be one of {', '.join(readers)}, got {suite!r}.")
    return readers[suite](data)
