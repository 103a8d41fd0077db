"""Folds: what is held out is trained on nowhere, not by a label, not by the standardisation, not by early stopping."""

from dataclasses import replace

import pytest
import torch

from playground.errors import PlaygroundError
from playground.training.evaluation.folds import cross_fit, folds_of, relatives
from playground.training.evaluation.linear import fit_linear
from playground.training.evaluation.plan import Plan, Stratum
from playground.training.fit import fit
from playground.training.labels.tasks import Task
from playground.training.pairs import Pairs
from playground.training.recipe import Recipe

GROUNDED = Stratum("grounded", "grounded", "contains-answer", "extraction", 1, 1, crossed=True)
VARIED = Stratum("varied", "varied", "distinct-valid", "writing", 1, 1)
PLAN = Plan("invented", (GROUNDED, VARIED), {"both": ("grounded", "varied")}, grid=(0.0, 0.5, 1.0))
QUICK = Recipe(beta=1.0, learning_rate=1e-2, weight_decay=0.0, dropout=0.0, epochs=20, batch=16, patience=20)


def task(name: str, stratum: Stratum, cluster: str, split: str) -> Task:
    return Task(name, "invented", stratum.family, cluster, name, 4, stratum.metric, split)


TASKS = [
    *(task(f"g{i}", GROUNDED, f"article {i // 2}", "train" if i < 8 else "dev") for i in range(12)),
    *(task(f"v{i}", VARIED, f"class {i // 2}", "train" if i < 6 else "test") for i in range(14)),
]


def labels() -> tuple[Pairs, list[str]]:
    """One pair a task of a training cluster: grounded states prefer index 0, varied ones index 2."""
    noise = torch.Generator().manual_seed(1)
    mine = [t for t in TASKS if t.split != "test"] * 3
    hidden = torch.randn(len(mine), 4, generator=noise)
    hidden[:, 0] += torch.tensor([3.0 if t.family == "varied" else -3.0 for t in mine])
    index = torch.tensor([[2, 0] if t.family == "varied" else [0, 2] for t in mine]).flatten()
    rows = torch.arange(len(mine)).repeat_interleave(2)
    pairs = Pairs(hidden, index, rows, torch.tensor([1.0, -1.0] * len(mine)), tuple(t.prompt for t in mine), state=rows)
    return pairs, [t.cluster for t in mine]


def states() -> dict[str, tuple[str, torch.Tensor]]:
    return {
        t.id: (t.cluster, torch.tensor([3.0 if t.family == "varied" else -3.0, 0.0, 0.0, 0.0]))
        for t in TASKS
        if PLAN.held_out(t)
    }


def trained(pairs: Pairs, seed: int):
    return fit(pairs, 3, Recipe(**{**QUICK.__dict__, "seed": seed})).decoder


def linear(pairs: Pairs, seed: int):
    return fit_linear(pairs, 3, Recipe(**{**QUICK.__dict__, "seed": seed}))


def test_every_held_out_cluster_is_in_one_fold_and_trained_on_in_none_that_scores_it():
    folds = folds_of(PLAN, TASKS, 3)
    held = [cluster for fold in folds for cluster in fold.held]
    assert len(held) == len(set(held))
    assert set(held) == {t.cluster for t in TASKS if PLAN.held_out(t)}
    test = {t.cluster for t in TASKS if t.family == "varied" and t.split == "test"}
    for fold in folds:
        assert not any(fold.trains_on(cluster) for cluster in fold.held | test)
        assert all(fold.trains_on(f"class {i}") for i in range(3))
        assert sum(fold.trains_on(f"article {i}") for i in range(6)) == 4
    assert folds == folds_of(PLAN, TASKS[::-1], 3)


def test_without_strata_that_take_turns_there_is_one_fold():
    plan = Plan("invented", (VARIED,), {"varied": ("varied",)})
    (fold,) = folds_of(plan, TASKS, 5)
    assert fold.held == fold.untrained == {f"class {i}" for i in range(3, 7)}


def test_classes_that_share_most_members_are_held_out_together():
    """A sign of the zodiac is a constellation: labels of one would teach the other."""
    shared = {0: ("leo|lion", "libra"), 3: ("Leo", "Libra", "orion", "lyra", "vela"), 4: ("leo", "x", "y")}
    members = {f"class {number}": names for number, names in shared.items()}
    tasks = [replace(t, answers=members.get(t.cluster, (t.cluster,))) for t in TASKS]
    assert relatives(tasks)["class 3"] == {"class 0"}  # it holds both names of class 0, and one in three of class 4
    assert relatives(tasks)["class 0"] == {"class 3", "class 4"}  # class 4 holds one of its two names
    folds = folds_of(PLAN, tasks, 3)
    assert not any(fold.trains_on("class 0") for fold in folds)
    assert all(fold.trains_on("class 1") for fold in folds)


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_or_too_many_folds_are_refused(count):
    with pytest.raises(PlaygroundError, match="between 2 and 6"):
        folds_of(PLAN, TASKS, count)


@pytest.mark.parametrize("fitted", [trained, linear])
def test_a_planted_rule_reaches_unseen_clusters(fitted):
    found = cross_fit(folds_of(PLAN, TASKS, 3), *labels(), states(), (0, 1), fitted)
    assert len(found) == 2
    for logprobs in found:
        assert set(logprobs) == set(states())
        for name, row in logprobs.items():
            assert row.index(max(row)) == (2 if name.startswith("v") else 0)


@pytest.mark.parametrize("fitted", [trained, linear])
def test_a_poisoned_label_changes_every_fold_but_the_one_that_holds_it_out(fitted):
    folds = folds_of(PLAN, TASKS, 3)
    pairs, clusters = labels()
    clean = cross_fit(folds, pairs, clusters, states(), (0,), fitted)[0]
    bad = clusters.index("article 1")
    hidden, index = pairs.hidden.clone(), pairs.index.clone()
    hidden[bad] = 1e3
    index[2 * bad : 2 * bad + 2] = torch.tensor([1, 0])
    poisoned = Pairs(hidden, index, pairs.pair, pairs.sign, pairs.prompts, state=pairs.state)
    dirty = cross_fit(folds, poisoned, clusters, states(), (0,), fitted)[0]
    for fold in folds:
        mine = [name for name, (cluster, _) in states().items() if cluster in fold.held]
        assert all(clean[name] == dirty[name] for name in mine) == ("article 1" in fold.held)


def test_a_label_of_a_test_class_reaches_no_fold():
    folds = folds_of(PLAN, TASKS, 3)
    pairs, clusters = labels()
    clean = cross_fit(folds, pairs, clusters, states(), (0,), linear)
    strange = Pairs(
        torch.cat([pairs.hidden, torch.full((1, 4), 1e3)]),
        torch.cat([pairs.index, torch.tensor([1, 0])]),
        torch.cat([pairs.pair, torch.full((2,), len(pairs))]),
        torch.cat([pairs.sign, torch.tensor([1.0, -1.0])]),
        (*pairs.prompts, "class 5"),
        state=torch.cat([pairs.states, torch.full((2,), len(pairs))]),
    )
    assert cross_fit(folds, strange, [*clusters, "class 5"], states(), (0,), linear) == clean
