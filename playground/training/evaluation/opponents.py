"""What a head is compared with. A policy at sequence level is a table: task → probabilities of settings.

fixed              every setting of the plan, the same for every task
best on dev        the setting with the highest mean on the tasks that a fold may train on; "best on test" looks at the
                   held-out tasks themselves and is an upper bound for it, not a policy that one could have chosen
hand table         temperatures by category (plan.HAND), the category of every prompt given
keyword router     two kinds of prompt told apart by words (`route`); the setting of each kind is the best on dev
per-family oracle  the best setting of every stratum on the held-out tasks: an upper bound
random T           every temperature of the grid equally often: what the untrained head samples
shuffled prompts   a policy's own temperatures, given to the wrong prompts. Its expected score over all permutations is
                   that of drawing from the policy's histogram, every stratum weighing the same
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from playground.training.evaluation.plan import HAND, Plan, Stratum, setting
from playground.training.labels.tasks import Task

Weights = Mapping[str, float]  # setting → probability
Policy = dict[str, Weights]  # id of a task → weights
LONG = 40  # words from which a prompt brings its own text
VARIETY = re.compile(r"\b(random|randomly|any|anything|whichever|whatever|surprise)\b")
DETERMINER = re.compile(r"\b(a|an|some|one|the)\b")


@dataclass(frozen=True)
class Item:
    """A measured task, its stratum, and the scores of its candidates by setting."""

    task: Task
    stratum: Stratum
    scores: Mapping[str, Sequence[float]]

    def value(self, weights: Weights) -> float:
        """The expected score of a policy that draws the setting with these probabilities."""
        return sum(weight * fmean(self.scores[name]) for name, weight in weights.items() if weight)

    def wins(self, mine: Weights, other: Weights) -> float:
        """How probable it is that one candidate scores higher than the other's, a tie counting half; the same setting ties."""
        return sum(
            p * q * (0.5 if a == b else _wins(self.scores[a], self.scores[b]))
            for a, p in mine.items()
            for b, q in other.items()
            if p and q
        )


def balanced(items: Sequence[Item], value: Callable[[Item], float]) -> float:
    """The mean over strata of means over clusters of means over tasks."""
    return fmean(fmean(values) for values in cluster_means(items, value).values())


def cluster_means(items: Sequence[Item], value: Callable[[Item], float]) -> dict[str, list[float]]:
    """The mean of every cluster, by stratum; clusters in the order of their names."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        found[item.stratum.name][item.task.cluster].append(value(item))
    return {name: [fmean(clusters[c]) for c in sorted(clusters)] for name, clusters in found.items()}


def same(items: Iterable[Item], name: str) -> Policy:
    """The same setting for every task."""
    return {item.task.id: {name: 1.0} for item in items}


def best(items: Sequence[Item], names: Sequence[str]) -> str:
    """The setting with the highest balanced mean; of equal ones the first."""
    return max(names, key=lambda name: balanced(items, lambda item: item.value({name: 1.0})))


def oracle(items: Sequence[Item], names: Sequence[str]) -> Policy:
    """The best setting of every stratum on these very items."""
    policy: Policy = {}
    for stratum in {item.stratum.name for item in items}:
        members = [item for item in items if item.stratum.name == stratum]
        policy |= same(members, best(members, names))
    return policy


def hand(items: Iterable[Item]) -> Policy:
    """The hand table's temperature for the category of every task."""
    return {item.task.id: {setting(HAND[item.stratum.category]): 1.0} for item in items}


def route(prompt: str) -> str:
    """ "varied" or "precise", from words alone; written before any prompt of an unseen format was read.

    Variety is asked for by a word such as "random" or "any" in a short prompt. A question mark, or a text that comes
    with the prompt, asks for something precise. Else the first determiner decides: "Name a planet." against
    "Name the planet closest to the Sun."; without one the prompt is precise.
    """
    text = prompt.lower()
    if len(text.split()) >= LONG:
        return "precise"
    if VARIETY.search(text):
        return "varied"
    if "?" in text:
        return "precise"
    first = DETERMINER.search(text)
    return "precise" if first is None or first[1] == "the" else "varied"


def router(held: Iterable[Item], dev: Sequence[Item], names: Sequence[str]) -> Policy:
    """Every route with its best setting on `dev`; a route that `dev` lacks takes the best of all."""
    routes = {kind: [item for item in dev if route(item.task.prompt) == kind] for kind in ("precise", "varied")}
    chosen = {kind: best(items or dev, names) for kind, items in routes.items()}
    return {item.task.id: {chosen[route(item.task.prompt)]: 1.0} for item in held}


def random_temperature(items: Iterable[Item], plan: Plan) -> Policy:
    """Every temperature of the grid with the same probability."""
    return {item.task.id: dict.fromkeys(plan.plain, 1 / len(plan.plain)) for item in items}


def histogram(items: Sequence[Item], policy: Policy) -> Weights:
    """The share of every setting, each stratum weighing the same."""
    names = {name for item in items for name in policy[item.task.id]}
    by_stratum: dict[str, list[Weights]] = defaultdict(list)
    for item in items:
        by_stratum[item.stratum.name].append(policy[item.task.id])
    return {
        name: fmean(fmean(weights.get(name, 0.0) for weights in rows) for rows in by_stratum.values())
        for name in sorted(names)
    }


def shuffled(items: Sequence[Item], policy: Policy) -> Policy:
    """The policy's settings for the wrong prompts, in expectation over permutations."""
    shares = histogram(items, policy)
    return {item.task.id: shares for item in items}


def _wins(mine: Sequence[float], other: Sequence[float]) -> float:
    return fmean((a > b) + 0.5 * (a == b) for a in mine for b in other)
