"""The replies of `evaluate --suite repetition`: every fixed setting and every policy, on the same prompts and random numbers.

All lanes of a prompt share one noise stream, so two settings differ only where they decide differently. A policy under test
comes with two controls that run after it: `shuffled`, its own temperatures in random places, and `matched`, the constant
temperature with its mean entropy. Texts are kept and measured later, so another measure decodes nothing anew.

FILE.jsonl           {"id", "sample", "replies": {label: {"text", "nll", "tokens", "temperature", "checkpoint"}}}
                     nll: mean of −log p over the reply's tokens under the model at T = 1, in nats
FILE.manifest.json   what must not change within a table, and a digest of every task

What FILE holds is not decoded again; a policy that it lacks, or whose checkpoint has changed, is added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from playground.decoding.policies.base import Head
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Trace
from playground.errors import PlaygroundError
from playground.training.evaluation.plan import FILTERS, setting
from playground.training.evaluation.scores import check_begun
from playground.training.labels.lanes import GRID, replies
from playground.training.labels.tasks import Task

SEED = 30_000_001  # of evaluation replies; labels are sampled with other seeds
PLAIN = tuple(setting(t) for t in GRID)
FIXED = (*PLAIN, *(setting(t, f) for f in FILTERS for t in GRID if t))
RIVALS = (
    *(f"edt:t0={t0:g},theta={theta:g}" for t0, theta in ((1, 0.5), (1, 1), (1, 2), (1.2, 1))),
    *(f"target-entropy:nats={nats:g}" for nats in (1, 1.5, 2)),
)
Reply = dict[str, Any]
Table = dict[tuple[str, int], dict[str, Reply]]  # (task, sample) → label → reply


@dataclass(frozen=True)
class Lane:
    """A label of the table, what it decodes, and the checkpoint it must have been decoded with."""

    label: str
    spec: str
    checkpoint: str | None = None


def controls(policy: str) -> tuple[str, str]:
    """The labels of the two controls of a policy under test."""
    return f"shuffled of {policy}", f"matched to {policy}"


def under_test(policies: Sequence[str], heads: Mapping[str, Head]) -> list[list[Lane]]:
    """Each policy with its controls. Raises PlaygroundError for a spec that cannot run here or controls another lane."""
    groups = []
    for policy in dict.fromkeys(policies):
        spec = catalogue({}).parse(policy)
        if spec.values.get("of"):
            raise PlaygroundError(
                f"`policy` must decide by itself; {policy!r} follows another lane and is added anyway."
            )
        name = str(spec.values.get("checkpoint", ""))
        checkpoint = heads[name].id if name in heads else None
        shuffled, matched = controls(policy)
        groups.append(
            [
                Lane(policy, policy, checkpoint),
                Lane(shuffled, "shuffled:of={lane}", checkpoint),
                Lane(matched, "matched:by=entropy,of={lane}", checkpoint),
            ]
        )
    return groups


def run(
    model: Any,
    tasks: Sequence[Task],
    policies: Sequence[str],
    heads: Mapping[str, Head],
    out: Path,
    samples: int = 1,
    seed: int = SEED,
) -> Table:
    """Decodes what the table `out` does not hold yet; returns all of it. `model` satisfies the engine's protocol.

    heads   the checkpoints that the policies may name
    Raises PlaygroundError where `out` was begun with another model or seed, or with other tasks under the same ids.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    by = {"model": model.name, "revision": model.revision, "precision": model.precision, "seed": seed}
    check_begun(out, by, tasks)
    groups = [*under_test(policies, heads), *([Lane(spec, spec)] for spec in (*RIVALS, *FIXED))]
    table = read(out)
    with out.open("a", encoding="utf-8") as file:
        for task in tqdm(tasks, desc="repetition"):
            for sample in range(samples):
                known = table.setdefault((task.id, sample), {})
                missing = [group for group in groups if not all(_holds(known, lane) for lane in group)]
                if missing:
                    found = decoded(model, task, missing, heads, seed + sample)
                    known |= found
                    file.write(
                        json.dumps({"id": task.id, "sample": sample, "replies": found}, ensure_ascii=False) + "\n"
                    )
                    file.flush()
    return table


def decoded(
    model: Any, task: Task, groups: Sequence[Sequence[Lane]], heads: Mapping[str, Head], seed: int
) -> dict[str, Reply]:
    """One reply a lane, all in one batch. The first lane of a group is the one that the others of it follow."""
    lanes: list[Lane] = []
    specs: list[str] = []
    for group in groups:
        first = len(lanes) + 1
        lanes += group
        specs += [lane.spec.format(lane=first) for lane in group]
    request = replace(task.request(seed), noise="shared")
    return {
        lane.label: _reply(trace, lane)
        for lane, trace in zip(lanes, replies(model, request, specs, heads), strict=True)
    }


def read(out: Path) -> Table:
    """What the table holds; a half-written last line is cut off."""
    table: Table = {}
    if not out.is_file():
        return table
    content = out.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with out.open("r+b") as file:
            file.truncate(len(whole))
    for line in whole.split(b"\n")[:-1]:  # not splitlines: a reply may hold U+2028
        row = json.loads(line)
        table.setdefault((row["id"], row["sample"]), {}).update(row["replies"])
    return table


def _reply(trace: Trace, lane: Lane) -> Reply:
    return {
        "text": trace.text,
        "nll": -fmean(step.logprob for step in trace.steps),
        "tokens": len(trace.steps),
        "temperature": fmean(step.temperature for step in trace.steps),
        "checkpoint": lane.checkpoint,
    }


def _holds(known: Mapping[str, Reply], lane: Lane) -> bool:
    return lane.label in known and known[lane.label]["checkpoint"] == lane.checkpoint
