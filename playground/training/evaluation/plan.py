"""What an evaluation at sequence level measures, fixed before the run that counts: settings, strata, weights.

A stratum is a family of prompts with one metric. A group is what one claim is about: its score is the mean of its strata,
every stratum weighing the same, of means over clusters, every cluster weighing the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playground.errors import PlaygroundError
from playground.training.labels.lanes import GRID
from playground.training.labels.tasks import Task

# Temperatures of the MT-bench authors by category (FastChat, llm_judge/common.py); a person says which category a family is.
HAND = {"writing": 0.7, "extraction": 0.0}
FILTERS: tuple[tuple[str, float], ...] = (("min_p", 0.05), ("min_p", 0.1), ("min_p", 0.2), ("top_p", 0.9))
HEAD_FILTERS: tuple[tuple[str, float], ...] = (("min_p", 0.1), ("top_p", 0.9))

MARGIN = 0.02  # how much worse than the keyword router a head may be and still count as not worse


def setting(temperature: float, *filters: tuple[str, float]) -> str:
    """The spec of one temperature with filters; T = 0 is greedy whatever the filter, so it has none."""
    parts = [("temperature", temperature), *(filters if temperature else ())]
    return "fixed:" + ",".join(f"{key}={value:g}" for key, value in parts)


@dataclass(frozen=True)
class Stratum:
    """Prompts of one family with one metric.

    category      a key of HAND
    samples       candidates for every task and plain temperature; T = 0 has one
    filtered      candidates for every task and setting with a filter
    per_cluster   tasks of a cluster that are measured, spread evenly; None is all
    crossed       whether clusters take turns in being held out; else only the test split is held out, and of every
                  other cluster one task is measured, for opponents that are chosen on it
    untouched     the split whose prompts had no part in choosing the wording of the prompts or the recipe of the heads
    """

    name: str
    family: str
    metric: str
    category: str
    samples: int
    filtered: int
    per_cluster: int | None = None
    crossed: bool = False
    untouched: str = "test"


@dataclass(frozen=True)
class Plan:
    """A suite's strata, and its groups by name: the strata that are averaged with equal weight."""

    suite: str
    strata: tuple[Stratum, ...]
    groups: Mapping[str, tuple[str, ...]]
    grid: tuple[float, ...] = GRID

    @property
    def plain(self) -> tuple[str, ...]:
        """The settings of the grid without a filter."""
        return tuple(setting(t) for t in self.grid)

    @property
    def filtered(self) -> tuple[str, ...]:
        """Every temperature above 0 with every filter."""
        return tuple(setting(t, f) for f in FILTERS for t in self.grid if t)

    @property
    def settings(self) -> tuple[str, ...]:
        """Everything that is decoded: plain, filtered, and the hand table's temperatures."""
        return tuple(dict.fromkeys((*self.plain, *self.filtered, *(setting(t) for t in HAND.values()))))

    def replies(self, task: Task) -> dict[str, int]:
        """How many replies a measured task needs at every setting. Greedy decoding always says the same, so it needs one."""
        stratum = self.stratum(task)
        assert stratum is not None, "only tasks of a stratum are measured"
        counts = {name: stratum.filtered if name in self.filtered else stratum.samples for name in self.settings}
        return {name: count * task.replies for name, count in counts.items()} | {setting(0.0): 1}

    def stratum(self, task: Task) -> Stratum | None:
        """The stratum that a task belongs to, or None where it is not measured."""
        return next((s for s in self.strata if (s.family, s.metric) == (task.family, task.metric)), None)

    def held_out(self, task: Task) -> bool:
        """Whether a fold may hold this task out and score it."""
        stratum = self.stratum(task)
        return stratum is not None and (stratum.crossed or task.split == "test")

    def untouched(self, task: Task) -> bool:
        """Whether nothing was chosen by what was seen of this task's cluster."""
        stratum = self.stratum(task)
        return stratum is not None and task.split == stratum.untouched

    def measured(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks whose scores are needed, in the order given."""
        clusters: dict[tuple[str, str, bool], list[Task]] = {}
        for task in tasks:
            stratum = self.stratum(task)
            if stratum is not None:
                clusters.setdefault((stratum.name, task.cluster, self.held_out(task)), []).append(task)
        by_name = {s.name: s for s in self.strata}
        keep: set[str] = set()
        for (name, _, held), members in clusters.items():
            count = min(len(members), (by_name[name].per_cluster or len(members)) if held else 1)
            keep |= {members[i * len(members) // count].id for i in range(count)}
        return [task for task in tasks if task.id in keep]


PLANS = (
    Plan(
        "grounded-or-varied",
        (
            Stratum("grounded", "grounded", "contains-answer", "extraction", 4, 2, 5, crossed=True, untouched="dev"),
            Stratum("varied", "varied", "distinct-valid", "writing", 2, 1),
        ),
        {"grounded or varied": ("grounded", "varied")},
    ),
    Plan(
        "minimal-pairs",
        (
            Stratum("any", "any", "distinct-valid", "writing", 2, 1, crossed=True),
            Stratum("fact", "fact", "contains-answer", "extraction", 8, 4, crossed=True),
            Stratum("unseen any", "unseen", "distinct-valid", "writing", 2, 1),
            Stratum("unseen fact", "unseen", "contains-answer", "extraction", 8, 4),
        ),
        {"trained formats": ("any", "fact"), "unseen format": ("unseen any", "unseen fact")},
    ),
)


def plan_of(suite: str) -> Plan:
    """Raises PlaygroundError for a suite that has none."""
    for plan in PLANS:
        if plan.suite == suite:
            return plan
    raise PlaygroundError(f"`suite` must be one of {', '.join(plan.suite for plan in PLANS)}, got {suite!r}.")
