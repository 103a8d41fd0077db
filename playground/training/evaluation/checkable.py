"""Accuracy, pass@N and maj@N of the settings where an answer can be checked.

accuracy  the share of replies that hold an accepted answer
pass@N    the share of tasks of whose N replies at least one does (at T = 0 there is one reply, so it is the accuracy)
maj@N     the share of tasks whose most frequent reply does. Replies are the same when their words are; of equally frequent
          ones the first drawn counts. Where no two replies are worded alike, it is the accuracy of the first
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from playground.analysis.measures import words
from playground.training.evaluation.figures import plain_figures
from playground.training.evaluation.opponents import Item, cluster_means
from playground.training.evaluation.statistics import mean_of_strata

CHECKED = "contains-answer"
Texts = Mapping[str, Mapping[str, Sequence[Sequence[str]]]]  # task → setting → candidates → replies


def checkable(items: Sequence[Item], texts: Texts, names: Sequence[str]) -> dict[str, Any]:
    """By stratum and setting: N, accuracy, pass and maj with their t intervals over clusters."""
    found: dict[str, Any] = {}
    for stratum in dict.fromkeys(item.stratum.name for item in items if item.task.metric == CHECKED):
        mine = [item for item in items if item.stratum.name == stratum and item.task.id in texts]
        found[stratum] = {name: _figures(mine, texts, name) for name in names} if mine else {}
    return found


def majority(replies: Sequence[str]) -> str:
    """The most frequent reply, compared word by word; of equally frequent ones the first."""
    counts = Counter(tuple(words(reply)) for reply in replies)
    return max(replies, key=lambda reply: counts[tuple(words(reply))])


def _figures(items: Sequence[Item], texts: Texts, name: str) -> dict[str, Any]:
    replies = {item.task.id: [text for (text,) in texts[item.task.id][name]] for item in items}
    measures = {
        "accuracy": lambda item: item.value({name: 1.0}),
        "pass": lambda item: max(item.scores[name]),
        "maj": lambda item: item.task.score([majority(replies[item.task.id])]),
    }
    return {
        "n": len(replies[items[0].task.id]),
        **{key: plain_figures(mean_of_strata(list(cluster_means(items, f).values()))) for key, f in measures.items()},
    }
