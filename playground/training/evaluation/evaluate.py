"""`evaluate --suite`: heads trained by the shipped recipe on the labels of some clusters, scored on others.

1. The score table (training/evaluation/scores.py): every task at every setting, decoded once.
2. For every fold and seed a head is fitted to the labels whose clusters the fold may train on.
3. A head gives every held-out task a temperature, and takes that setting's scores from the table.
4. Figures of every group of the plan, beside all opponents; JSON and a report.

The folds measure the recipe. The head that ships was fitted by the same recipe to all labels, so no task is left on which
it could be measured without bias.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import Checkpoint, describe
from playground.errors import PlaygroundError
from playground.training.evaluation import card, scores
from playground.training.evaluation.checkable import checkable
from playground.training.evaluation.figures import HEAD, group_figures, label, verdict
from playground.training.evaluation.folds import Fold, Logprobs, Predictor, cross_fit, folds_of
from playground.training.evaluation.linear import fit_linear
from playground.training.evaluation.opponents import Item
from playground.training.evaluation.plan import FILTERS, HAND, Plan, plan_of
from playground.training.evaluation.report import interval, write_report
from playground.training.exclusions import grid_of
from playground.training.features import cached_states, pairs_of
from playground.training.fit import fit
from playground.training.labels.tasks import SUITES, Task, tasks_of
from playground.training.pairs import Pairs
from playground.training.recipe import Recipe
from playground.training.train import Votes, commit, read_preferences, recipe_for

LINEAR, UNTRAINED = "linear head", "untrained head"


@dataclass(frozen=True)
class Labels:
    """What heads are trained on: pairs, the cluster of each, the files' sha256, and what was left out by reason."""

    pairs: Pairs
    clusters: tuple[str, ...]
    sha256: str
    dropped: Mapping[str, int]


def run(
    model: Any,
    suite: str,
    data: Path | None,
    labels: Sequence[Path],
    out: Path,
    features: Path,
    table: Path | None = None,
    seeds: int = 3,
    folds: int = 8,
    command: str = "",
    unfinished: bool = False,
    votes: Votes | None = None,
) -> dict[str, Any]:
    """Writes SUITE.json and SUITE.html to the folder `out`; returns what the JSON holds.

    table        the score table, `out`/SUITE.scores.jsonl unless given; what it lacks is decoded first
    votes        what `read_preferences(labels)` gave, where that has been called already
    unfinished   take the table as it is: the tasks of which it holds every plain temperature
    """
    plan, tasks = plan_of(suite), tasks_of(suite, data)
    table = table or out / f"{suite}.scores.jsonl"
    known = labels_of(model, labels, data, features, plan.grid, votes)  # refused before anything is decoded
    found = scores.read(table)[0] if unfinished else scores.run(model, tasks, plan, table)
    items = items_of(plan, tasks, found)
    parts = folds_of(plan, [item.task for item in items], folds)
    recipe = recipe_for("sequence")
    heads = predictions(model, plan, items, parts, known, range(seeds), features, recipe)
    groups = {
        name: group_figures(plan, items, parts, heads, strata, recipe.beta) for name, strata in plan.groups.items()
    }
    texts = scores.read(table)[1]
    held = [item for item in items if plan.held_out(item.task)]
    result = {
        "suite": suite,
        "plan": {
            "grid": list(plan.grid),
            "filters": [f"{key.replace('_', '-')} {value:g}" for key, value in FILTERS],
            "hand_table": HAND,
            "weights": "strata equal; clusters of a stratum equal; tasks of a cluster equal",
            "groups": {name: list(strata) for name, strata in plan.groups.items()},
        },
        "made_by": {
            "command": command,
            "commit": commit(),
            "model": model.name,
            "revision": model.revision,
            "table": scores.made_by(table),
            "labels_sha256": known.sha256,
            "label_pairs": len(known.pairs.prompts),
            "labels_dropped": dict(known.dropped),
            "recipe": asdict(recipe),
            "seeds": seeds,
            "folds": len(parts),
            "tasks": f"{len(items)} of {len(plan.measured(tasks))} measured",
        },
        "groups": {name: {**figures, "verdict": verdict(figures, plan)} for name, figures in groups.items()},
        "checkable": {
            stratum: {label(name): row for name, row in rows.items()}
            for stratum, rows in checkable(held, texts, plan.plain).items()
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{suite}.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_report(result, out / f"{suite}.html")
    return result


def items_of(plan: Plan, tasks: Sequence[Task], found: scores.Scores) -> list[Item]:
    """The measured tasks with their scores; those without a score at some plain temperature are left out.

    Raises PlaygroundError where no task of some stratum is left to be scored.
    """
    needed = {name for name in plan.settings if name not in plan.filtered}
    items = [
        Item(task, stratum, found[task.id])
        for task in plan.measured(tasks)
        if (stratum := plan.stratum(task)) is not None and found.get(task.id, {}).keys() >= needed
    ]
    there = {item.stratum.name for item in items if plan.held_out(item.task)}
    missing = [stratum.name for stratum in plan.strata if stratum.name not in there]
    if missing:
        raise PlaygroundError(
            f"The score table must hold tasks of every kind, and has none of {', '.join(missing)} yet; "
            "let `scores`, or `evaluate` without --unfinished, go on with it."
        )
    return items


def labels_of(
    model: Any,
    paths: Sequence[Path],
    data: Path | None,
    features: Path,
    grid: tuple[float, ...],
    votes: Votes | None = None,
) -> Labels:
    """Reads the labels and finds the cluster of each by its prompt. A prompt of no suite is dropped: nobody could say
    whether it belongs to what is held out. Raises PlaygroundError where nothing is left, or an arm drew from another grid."""
    preferences, digest = votes or read_preferences(paths)
    suites = [suite for suite in SUITES if data is not None or suite == "minimal-pairs"]
    clusters = {task.prompt: task.cluster for suite in suites for task in tasks_of(suite, data)}
    mine = [preference for preference in preferences if preference.prompt in clusters]
    if not mine:
        raise PlaygroundError(
            "`labels` must hold preferences for prompts of the suites; make them with `sample --suite`."
        )
    grid_of(mine, "sequence", wanted=grid)
    pairs, dropped = pairs_of(model, mine, "sequence", features, grid=grid)
    strangers = len(preferences) - len(mine)
    dropped = {**dropped, **({"a prompt of no suite": strangers} if strangers else {})}
    return Labels(pairs, tuple(clusters[prompt] for prompt in pairs.prompts), digest, dropped)


def predictions(
    model: Any,
    plan: Plan,
    items: Sequence[Item],
    folds: Sequence[Fold],
    labels: Labels,
    seeds: Sequence[int],
    features: Path,
    recipe: Recipe,
) -> dict[str, tuple[Logprobs, ...]]:
    """What the head, the linear head and the untrained head say of every held-out task, by seed."""
    held = {
        item.task.id: (item.task.cluster, prompt_state(model, item.task, features))
        for item in items
        if plan.held_out(item.task)
    }
    count = len(plan.grid)

    def trained(pairs: Pairs, seed: int) -> Predictor:
        return fit(pairs, count, replace(recipe, seed=seed), quiet=True).decoder

    def linear(pairs: Pairs, seed: int) -> Predictor:
        return fit_linear(pairs, count, replace(recipe, seed=seed))

    def untrained(pairs: Pairs, seed: int) -> Predictor:
        return random_head(pairs, count, seed)

    fitted = {HEAD: trained, LINEAR: linear, UNTRAINED: untrained}
    return {
        name: cross_fit(folds, labels.pairs, labels.clusters, held, seeds, make, f"{name}, folds")
        for name, make in fitted.items()
    }


def random_head(pairs: Pairs, temperatures: int, seed: int) -> Predictor:
    """The head with random weights in its last layer too: an arbitrary rule of the state, learned from nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = AdaptiveDecoder(pairs.hidden.shape[1], temperatures)
        nn.init.normal_(decoder.last.weight)
    decoder.standardise(pairs.hidden)
    return decoder.eval()


def prompt_state(model: Any, task: Task, folder: Path) -> Tensor:
    """The state [H] at the last token of a task's prompt, prefill included; cached on disk."""
    ids = model.encode_chat(task.prompt, task.system, task.prefill)
    return cached_states(model, ids, ids[-1:], folder)[0]  # as features.states does, so that labels share the file


def check_head(checkpoint: Checkpoint) -> None:
    """Raises PlaygroundError for a head that the suite's figures would not speak of."""
    made = {**Recipe.of(checkpoint.meta.metrics), "seed": 0}
    if checkpoint.meta.kind != "adaptive-sequence" or made != {**asdict(recipe_for("sequence")), "seed": 0}:
        raise PlaygroundError(
            f"`--head` must name heads that `train --level sequence` made by its default recipe; {checkpoint.name!r} is another."
        )


def record(checkpoint: Checkpoint, result: Mapping[str, Any]) -> Checkpoint:
    """Writes the suite's figures into a head's meta and its card anew."""
    suites = {**checkpoint.meta.metrics.get("suites", {}), result["suite"]: card.suite_summary(result)}
    meta = replace(checkpoint.meta, metrics={**checkpoint.meta.metrics, "suites": suites})
    return describe(checkpoint, meta, card.text(checkpoint.name, meta))


def in_words(result: Mapping[str, Any]) -> str:
    """The outcome in a few lines: the head, the best fixed temperature, the placebo and the oracle of every group."""
    lines = []
    for name, group in result["groups"].items():
        rows = {row["name"]: row for row in group["policies"]}
        best = group["verdict"]["best_fixed"]
        lines.append(
            f"{name}: head {rows[HEAD]['score']['mean']:.3f}, seeds {', '.join(f'{x:.3f}' for x in group['seeds'])}"
        )
        others = best, "shuffled prompts", "keyword router", "best T and filter on test", "per-family oracle"
        for other in (name for name in others if name in rows):
            score, gain = rows[other]["score"]["mean"], rows[other]["head_minus"]
            lines.append(f"  {other} {score:.3f}, head minus it {interval(gain)}")
    return "\n".join(lines)
