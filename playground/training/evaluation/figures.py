"""The figures of one group of strata: every policy's score, the head's differences, win rates and histograms.

Intervals are 95 % t intervals over clusters (statistics.mean_of_strata); a difference is taken task by task before it is
averaged, and both policies look up the same replies. Seeds are pooled: a head's score on a task is the mean over its
seeds. Heads of different folds share training labels, so their errors are not quite independent; no interval knows that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from statistics import fmean
from typing import Any

import torch

from playground.training.evaluation import opponents
from playground.training.evaluation.folds import Fold, Logprobs
from playground.training.evaluation.opponents import Item, Policy
from playground.training.evaluation.plan import HEAD_FILTERS, MARGIN, Plan, setting
from playground.training.evaluation.statistics import Estimate, above, mean_of_strata
from playground.training.reliability import reliability

HEAD, ROUTER = "head", "keyword router"
Kind = str  # fixed, filtered, opponent, bound, head


@dataclass(frozen=True)
class Named:
    """A policy with the name and the kind under which it is shown."""

    name: str
    kind: Kind
    policy: Policy


def group_figures(
    plan: Plan,
    items: Sequence[Item],
    folds: Sequence[Fold],
    heads: Mapping[str, Sequence[Logprobs]],
    strata: Sequence[str],
    beta: float,
) -> dict[str, Any]:
    """All figures of the strata named. `heads` holds the log-probabilities by seed of "head", "linear head", "untrained head".

    `items` are all measured tasks; of a group's strata those that a fold holds out are scored, and what is chosen on dev
    is chosen on the tasks of any stratum that a fold may train on. Where some of them were seen when wording or recipe
    were chosen, the head's difference is given on the untouched ones too.
    """
    held = [item for item in items if item.stratum.name in strata and plan.held_out(item.task)]
    policies = list(_policies(plan, items, held, folds, heads))
    head = next(policy for policy in policies if policy.name == HEAD)
    untouched = [item for item in held if plan.untouched(item.task)]
    if len(untouched) == len(held) or {item.stratum.name for item in untouched} != set(strata):
        untouched = []
    return {
        "strata": {
            name: {
                "tasks": len(mine := [item for item in held if item.stratum.name == name]),
                "clusters": len({item.task.cluster for item in mine}),
                "untouched": len({item.task.cluster for item in mine if plan.untouched(item.task)}),
                "metric": mine[0].task.metric,
                "replies": mine[0].task.replies,
                "samples": mine[0].stratum.samples,
            }
            for name in strata
        },
        "policies": [_row(held, untouched, named, head) for named in policies],
        "seeds": [_mean(held, _chosen(plan, held, logprobs)).mean for logprobs in heads[HEAD]],
        "histograms": {
            named.name: {
                name: _shares(plan, [item for item in held if item.stratum.name == name], named.policy)
                for name in strata
            }
            for named in policies
            if named.kind in ("head", "opponent") and _plain(plan, named.policy)
        },
        "reliability": reliability(_confidences(plan, held, heads[HEAD], beta)),
    }


def label(name: str) -> str:
    """A setting as it is shown: "T 0.6, min-p 0.1"."""
    return (
        name.removeprefix("fixed:").replace("temperature=", "T ").replace("_", "-").replace("=", " ").replace(",", ", ")
    )


def verdict(figures: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Whether the head beats every plain temperature of the grid, and the shuffled prompts, with intervals that exclude 0;
    and whether it is better than the keyword router, or at least not worse by MARGIN or more, by the interval's lower end.

    Requiring every interval to exclude 0 is an intersection–union test and needs no correction for the number of opponents.
    """
    rows = {row["name"]: row for row in figures["policies"]}

    def beaten(name: str) -> bool:
        return above(rows[name]["head_minus"])

    plain = [label(name) for name in plan.plain]
    hardest = max(plain, key=lambda name: rows[name]["score"]["mean"])
    better = [row["name"] for row in figures["policies"] if row["score"]["mean"] > rows[HEAD]["score"]["mean"]]
    fresh = {name: gain for name in plain if (gain := rows[name].get("head_minus_untouched"))}
    return {
        "best_fixed": hardest,
        "beats_every_fixed": all(beaten(name) for name in plain),
        "beats_shuffled": beaten("shuffled prompts"),
        "scores_higher_than_the_head": better,
        "better_than_router": beaten(ROUTER),
        **({"not_beaten_on_untouched": [name for name, gain in fresh.items() if not above(gain)]} if fresh else {}),
        "not_worse_than_router": above(rows[ROUTER]["head_minus"], -MARGIN),
    }


def _policies(
    plan: Plan,
    items: Sequence[Item],
    held: Sequence[Item],
    folds: Sequence[Fold],
    heads: Mapping[str, Sequence[Logprobs]],
) -> Iterator[Named]:
    """The head and its opponents; those with a filter where every task's scores at all of them are known."""
    head = _chosen(plan, held, *heads[HEAD])
    yield Named(HEAD, "head", head)
    for name in plan.plain:
        yield Named(label(name), "fixed", opponents.same(held, name))
    yield Named("shuffled prompts", "opponent", opponents.shuffled(held, head))
    yield Named("random T", "opponent", opponents.random_temperature(held, plan))
    for name in (name for name in heads if name != HEAD):
        yield Named(name, "opponent", _chosen(plan, held, *heads[name]))
    yield Named("hand table by category", "opponent", opponents.hand(held))

    def router(mine: Sequence[Item], dev: Sequence[Item]) -> Policy:
        return opponents.router(mine, dev, plan.plain)

    def best(mine: Sequence[Item], dev: Sequence[Item]) -> Policy:
        return opponents.same(mine, opponents.best(dev, plan.plain))

    yield Named(ROUTER, "opponent", _by_fold(items, held, folds, router))
    yield Named("best T on dev", "opponent", _by_fold(items, held, folds, best))
    yield Named("per-family oracle", "bound", opponents.oracle(held, plan.plain))
    for name in plan.settings:
        if name not in (*plan.plain, *plan.filtered):
            yield Named(label(name), "opponent", opponents.same(held, name))
    if all(name in item.scores for item in items for name in plan.filtered):
        yield from _filtered(plan, items, held, folds, head)


def _filtered(
    plan: Plan, items: Sequence[Item], held: Sequence[Item], folds: Sequence[Fold], head: Policy
) -> Iterator[Named]:
    """The head with filters, and every opponent that uses some."""
    every = (*plan.plain, *plan.filtered)
    for kept in HEAD_FILTERS:
        cut: Policy = {name: {_with(spec, kept): w for spec, w in weights.items()} for name, weights in head.items()}
        yield Named(f"head, {label(setting(1.0, kept)).split(', ')[1]}", "head", cut)

    def router(mine: Sequence[Item], dev: Sequence[Item]) -> Policy:
        return opponents.router(mine, dev, every)

    def best(mine: Sequence[Item], dev: Sequence[Item]) -> Policy:
        return opponents.same(mine, opponents.best(dev, plan.filtered))

    yield Named(f"{ROUTER}, filters too", "opponent", _by_fold(items, held, folds, router))
    yield Named("best T and filter on dev", "opponent", _by_fold(items, held, folds, best))
    yield Named("best T and filter on test", "bound", opponents.same(held, opponents.best(held, plan.filtered)))
    yield Named("per-family oracle, filters too", "bound", opponents.oracle(held, every))
    for name in plan.filtered:
        yield Named(label(name), "filtered", opponents.same(held, name))


def _by_fold(
    items: Sequence[Item],
    held: Sequence[Item],
    folds: Sequence[Fold],
    choose: Callable[[Sequence[Item], Sequence[Item]], Policy],
) -> Policy:
    """What `choose` makes of every fold's held-out tasks and of those that the fold may train on."""
    policy: Policy = {}
    for fold in folds:
        dev = [item for item in items if fold.trains_on(item.task.cluster)]
        policy |= choose([item for item in held if item.task.cluster in fold.held], dev)
    return policy


def _chosen(plan: Plan, held: Sequence[Item], *by_seed: Logprobs) -> Policy:
    """The most probable temperature of every task; seeds weigh the same."""
    policy: Policy = {}
    for item in held:
        weights: dict[str, float] = {}
        for logprobs in by_seed:
            row = logprobs[item.task.id]
            name = plan.plain[max(range(len(row)), key=row.__getitem__)]
            weights[name] = weights.get(name, 0.0) + 1 / len(by_seed)
        policy[item.task.id] = weights
    return policy


def _with(spec: str, kept: tuple[str, float]) -> str:
    return setting(float(spec.removeprefix("fixed:temperature=")), kept)


def _plain(plan: Plan, policy: Policy) -> bool:
    return all(name in plan.plain for weights in policy.values() for name in weights)


def _row(held: Sequence[Item], untouched: Sequence[Item], named: Named, head: Named) -> dict[str, Any]:
    def gain(item: Item) -> float:
        return item.value(head.policy[item.task.id]) - item.value(named.policy[item.task.id])

    def wins(item: Item) -> float:
        return item.wins(head.policy[item.task.id], named.policy[item.task.id])

    means = opponents.cluster_means(held, lambda item: item.value(named.policy[item.task.id]))
    gains = opponents.cluster_means(held, gain)
    fresh = list(opponents.cluster_means(untouched, gain).values())
    row = {
        "name": named.name,
        "kind": named.kind,
        "score": plain_figures(mean_of_strata(list(means.values()))),
        "strata": {name: plain_figures(mean_of_strata([values])) for name, values in means.items()},
    }
    if named is head:
        return row
    return {
        **row,
        "head_minus": plain_figures(mean_of_strata(list(gains.values()))),
        **({"head_minus_untouched": plain_figures(mean_of_strata(fresh))} if fresh else {}),
        "head_minus_strata": {name: plain_figures(mean_of_strata([values])) for name, values in gains.items()},
        "head_wins": plain_figures(mean_of_strata(list(opponents.cluster_means(held, wins).values()))),
    }


def _mean(held: Sequence[Item], policy: Policy) -> Estimate:
    return mean_of_strata(list(opponents.cluster_means(held, lambda i: i.value(policy[i.task.id])).values()))


def _shares(plan: Plan, items: Sequence[Item], policy: Policy) -> list[float]:
    return [fmean(policy[item.task.id].get(name, 0.0) for item in items) for name in plan.plain]


def _confidences(plan: Plan, held: Sequence[Item], by_seed: Sequence[Logprobs], beta: float) -> torch.Tensor:
    """The probability that the head gave to what really won, for every two candidates of a task at two temperatures
    whose scores differ: σ(β (log P(τ_won) − log P(τ_lost))), equation 10's own model of a preference."""
    margins = [
        logprobs[item.task.id][won] - logprobs[item.task.id][lost]
        for item in held
        for logprobs in by_seed
        for won, a in enumerate(plan.plain)
        for lost, b in enumerate(plan.plain)
        if won != lost
        for x in item.scores[a]
        for y in item.scores[b]
        if x > y
    ]
    return torch.sigmoid(beta * torch.tensor(margins, dtype=torch.float64))


def plain_figures(value: Estimate) -> dict[str, float | None]:
    """JSON knows no infinity: an interval over a single cluster is null."""
    return {key: None if item == inf else item for key, item in asdict(value).items()}
