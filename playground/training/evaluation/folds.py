"""Cross-fitting: heads trained on the labels of some clusters predict the temperatures of others.

A cluster (article, class of entities) is held out in at most one fold. Clusters of a crossed stratum take turns; of the
other strata only the test split is held out, and its clusters are trained on in no fold. Labels of a held-out cluster do
not reach the head, nor its standardisation, nor its early stopping; nor do those of its relatives, classes that share
most of its members under another name (a sign of the zodiac is a constellation).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from playground.errors import PlaygroundError
from playground.training.evaluation.plan import Plan
from playground.training.labels.tasks import Task
from playground.training.pairs import Pairs

Logprobs = dict[str, tuple[float, ...]]  # id of a task → log P(τ_k | prompt)
Predictor = Callable[[Tensor], Tensor]  # states [N, H] → log-probabilities [N, K]
RELATED = 0.5  # share of the smaller class's members that a larger one holds


@dataclass(frozen=True)
class Fold:
    """The clusters that are scored, and all those whose labels are left out."""

    held: frozenset[str]
    untrained: frozenset[str]

    def trains_on(self, cluster: str) -> bool:
        """Whether labels of this cluster reach the heads of the fold."""
        return cluster not in self.untrained


def folds_of(plan: Plan, tasks: Sequence[Task], count: int) -> tuple[Fold, ...]:
    """`count` folds, or one where no stratum is crossed: then every fold would train on the same labels.

    Raises PlaygroundError for fewer than two folds where there are clusters that take turns, or fewer clusters than folds.
    """
    crossed = any(stratum.crossed for stratum in plan.strata)
    count = count if crossed else 1
    place: dict[str, int] = {}
    for stratum in plan.strata:
        mine = (task for task in tasks if plan.stratum(task) == stratum and plan.held_out(task))
        clusters = sorted({task.cluster for task in mine}, key=lambda name: hashlib.sha256(name.encode()).digest())
        if crossed and len(clusters) < 2:
            raise PlaygroundError(f"The suite must hold at least two clusters of {stratum.name}, got {len(clusters)}.")
        if crossed and not 2 <= count <= len(clusters):
            raise PlaygroundError(
                f"`folds` must lie between 2 and {len(clusters)}, the clusters there are; got {count}."
            )
        for number, cluster in enumerate(clusters):
            place.setdefault(cluster, number % count)
    test = {task.cluster for task in tasks if (s := plan.stratum(task)) and not s.crossed and task.split == "test"}
    held = [frozenset(cluster for cluster, fold in place.items() if fold == number) for number in range(count)]
    related = relatives(tasks)
    return tuple(Fold(clusters, _with_relatives(clusters | test, related)) for clusters in held)


def relatives(tasks: Sequence[Task]) -> dict[str, set[str]]:
    """The classes that share RELATED of the smaller one's members, each with its others; the first name of a member counts."""
    members: dict[str, set[str]] = {}
    for task in (task for task in tasks if task.metric == "distinct-valid"):
        members.setdefault(task.cluster, set()).update(name.partition("|")[0].casefold() for name in task.answers)
    found: dict[str, set[str]] = {name: set() for name in members}
    for one, other in combinations(members, 2):
        shared = members[one] & members[other]
        if shared and len(shared) >= RELATED * min(len(members[one]), len(members[other])):
            found[one].add(other)
            found[other].add(one)
    return found


def _with_relatives(clusters: frozenset[str], related: Mapping[str, set[str]]) -> frozenset[str]:
    return clusters.union(*(related.get(cluster, ()) for cluster in clusters))


def cross_fit(
    folds: Sequence[Fold],
    pairs: Pairs,
    clusters: Sequence[str],
    held: Mapping[str, tuple[str, Tensor]],
    seeds: Sequence[int],
    fitted: Callable[[Pairs, int], Predictor],
    what: str = "folds",
) -> tuple[Logprobs, ...]:
    """For every seed the log-probabilities of every held-out task, from the head of the fold that holds it out.

    clusters   the cluster of every pair        held   id of a task → its cluster and its state [H]
    fitted     trains on some pairs with a seed
    """
    found: tuple[Logprobs, ...] = tuple({} for _ in seeds)
    for fold in tqdm(folds, desc=what):
        training = pairs.subset([i for i, cluster in enumerate(clusters) if fold.trains_on(cluster)])
        mine = {name: state for name, (cluster, state) in held.items() if cluster in fold.held}
        if not mine:
            continue
        states = torch.stack(list(mine.values()))  # [N, H]
        for seed, logprobs in zip(seeds, found, strict=True):
            predict = fitted(training, seed)
            with torch.no_grad():
                rows: Any = predict(states)  # [N, K]
            logprobs |= dict(zip(mine, map(tuple, rows.double().tolist()), strict=True))
    return found
