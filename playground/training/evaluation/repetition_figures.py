"""The figures of `evaluate --suite repetition`: where each policy lies relative to what fixed settings reach.

For each family of prompts and each measure of coherence the frontier (training/evaluation/frontier.py) is drawn twice: over all fixed
settings, min-p and top-p included, and over the temperatures alone. No policy is part of a frontier. A figure of a policy
is the mean over clusters of means over prompts of means over samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from statistics import fmean
from typing import Any

from playground.analysis.grammar import grammar_errors_per_100_words
from playground.analysis.measures import dictionary_word_share, repeated_ngram_share
from playground.training.evaluation.frontier import Point, distance, height, hull, interval, scaled, spans
from playground.training.evaluation.repetition import FIXED, PLAIN, RIVALS, Reply, Table, controls
from playground.training.evaluation.statistics import Estimate, estimate
from playground.training.labels.tasks import Task

COHERENCE = {"words": "words no dictionary knows", "grammar": "grammar errors per 100 words"}
MEASURES = ("repetition", "words", "grammar", "nll", "temperature", "tokens")
FRONTIERS = {"all": FIXED, "plain": PLAIN}
Cluster = dict[str, dict[str, float]]  # label → measure → mean over the cluster's prompts


def figures(table: Table, tasks: Sequence[Task], policies: Sequence[str], samples: int) -> dict[str, Any]:
    """By family: its prompts and clusters, every label's means, and every policy's place at both frontiers."""
    found = {}
    for family in dict.fromkeys(task.family for task in tasks):
        members = [task for task in tasks if task.family == family]
        clusters = clusters_of(table, members, policies, samples)
        found[family] = {
            "prompts": len(members),
            "clusters": len(clusters),
            "means": {label: _means(clusters, label) for label in _labels(policies)},
            "places": {name: places(clusters, name, policies) for name in COHERENCE},
        }
    return found


def clusters_of(table: Table, tasks: Sequence[Task], policies: Sequence[str], samples: int) -> list[Cluster]:
    """The measures of every cluster of `tasks`, in the order of the clusters' names."""
    by_cluster: dict[str, list[Task]] = {}
    for task in tasks:
        by_cluster.setdefault(task.cluster, []).append(task)
    return [
        {label: _average([_prompt(table, task.id, label, samples) for task in members]) for label in _labels(policies)}
        for _, members in sorted(by_cluster.items())
    ]


def places(clusters: Sequence[Cluster], coherence: str, policies: Sequence[str]) -> dict[str, Any]:
    """Spans of the axes, the vertices of each frontier, and for every policy, control and rival its place.

    distance        d of training/evaluation/frontier.py, positive beyond the frontier; "plain" the same for temperatures alone
    at_equal        the frontier's incoherence at the policy's repetition minus the policy's, in the measure's own unit; None
                    where the policy repeats less than every fixed setting, with all clusters or without one of them
    minus           for a policy under test: its distance minus that of its controls and of every rival
    """
    rounds = _rounds(clusters, coherence, _labels(policies))
    by = spans(rounds[0], PLAIN)
    labels = [label for label in _labels(policies) if label not in FIXED]
    far = {kind: _distances(rounds, names, labels, by) for kind, names in FRONTIERS.items()}
    hulls = [hull([points[name] for name in FIXED]) for points in rounds]
    rows: dict[str, Any] = {}
    for label in labels:
        reached = [
            (height(found, points[label][0]), points[label][1]) for found, points in zip(hulls, rounds, strict=True)
        ]
        gaps = [math.nan if up is None else up - own for up, own in reached]
        at_equal = _over(gaps)
        rows[label] = {
            "distance": _over(far["all"][label]),
            "plain": _over(far["plain"][label]),
            "at_equal": None if at_equal["mean"] is None or at_equal["half"] is None else at_equal,
        }
    for policy in policies:
        own = far["all"][policy]
        rows[policy]["minus"] = {
            other: _over([a - b for a, b in zip(own, far["all"][other], strict=True)])
            for other in (*controls(policy), *RIVALS)
        }
    return {
        "spans": by,
        "vertices": {kind: _vertices(rounds[0], names) for kind, names in FRONTIERS.items()},
        "policies": rows,
    }


def _rounds(clusters: Sequence[Cluster], coherence: str, labels: Sequence[str]) -> list[dict[str, Point]]:
    """Every label's point over all clusters, then without each cluster in turn."""
    n = len(clusters)
    found: list[dict[str, Point]] = [{} for _ in range(n + 1)]
    for label in labels:
        xs, ys = ([cluster[label][name] for cluster in clusters] for name in ("repetition", coherence))
        x, y = math.fsum(xs), math.fsum(ys)
        found[0][label] = (x / n, y / n)
        for i in range(n if n > 1 else 0):
            found[i + 1][label] = ((x - xs[i]) / (n - 1), (y - ys[i]) / (n - 1))
    return found if n > 1 else found[:1] * 2


def _distances(
    rounds: Sequence[Mapping[str, Point]], names: Sequence[str], labels: Sequence[str], by: Point
) -> dict[str, list[float]]:
    """Each label's distance from the frontier of `names`, round by round."""
    hulls = [hull([scaled(points[name], by) for name in names]) for points in rounds]
    return {
        label: [distance(found, scaled(points[label], by)) for found, points in zip(hulls, rounds, strict=True)]
        for label in labels
    }


def _vertices(points: Mapping[str, Point], names: Sequence[str]) -> list[str]:
    """The settings at the corners of the frontier, from the fewest repeats to the most coherent."""
    return [next(name for name in names if points[name] == corner) for corner in hull([points[name] for name in names])]


def _over(values: Sequence[float]) -> dict[str, float | None]:
    """The first value with the interval that the others give it."""
    return _value(interval(values[0], values[1:]))


def _prompt(table: Table, task: str, label: str, samples: int) -> dict[str, float]:
    return _average([measures(table[task, sample][label]) for sample in range(samples)])


def measures(reply: Reply) -> dict[str, float]:
    """All MEASURES of one reply; `words` and `repetition` are shares."""
    repetition, unknown, grammar = _of_text(reply["text"])
    kept = {name: float(reply[name]) for name in ("nll", "temperature", "tokens")}
    return {"repetition": repetition, "words": unknown, "grammar": grammar, **kept}


@lru_cache(maxsize=100_000)
def _of_text(text: str) -> tuple[float, float, float]:
    return repeated_ngram_share(text, 4), 1 - dictionary_word_share(text), grammar_errors_per_100_words(text)


def _average(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def _means(clusters: Sequence[Cluster], label: str) -> dict[str, Any]:
    return {name: _value(estimate([cluster[label][name] for cluster in clusters])) for name in MEASURES}


def _labels(policies: Sequence[str]) -> list[str]:
    """Everything in the table: the policies with their controls, the rivals, the fixed settings."""
    return list(dict.fromkeys([name for p in policies for name in (p, *controls(p))] + [*RIVALS, *FIXED]))


def _value(value: Estimate) -> dict[str, float | None]:
    """JSON knows neither infinity nor NaN."""
    return {key: item if math.isfinite(item) else None for key, item in asdict(value).items() if key != "count"}
