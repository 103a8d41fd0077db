"""`sample --suite`: candidates of every task of a suite at every temperature of the grid, scored and paired.

A candidate is one reply, or the set of replies that the task says (eight where variety is wanted), at one fixed
temperature. The prompt is read once and every temperature comes equally often, which is drawing without replacement. At
temperature 0 the model always says the same: that reply is decoded once and stands for all of them. Every task has random
numbers of its own: with the same for all, what a temperature happened to draw would be a label in every cluster.

FILE              preference/1 lines, source "verifier": both sides are fixed temperatures of the grid
FILE.scores.jsonl {"id", "scores": {setting: [score of each candidate]}} of every task, also where no pair was decided
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from playground.decoding.sampling import stream_key
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.labels.candidates import lean, origin
from playground.training.labels.journal import WORDING, Journal, selection, wording
from playground.training.labels.lanes import GRID, ROWS, in_batches
from playground.training.labels.marks import marked
from playground.training.labels.pairing import Candidate, pairs_of, preference
from playground.training.labels.tasks import Task

SPLITS = ("train", "dev", "test", "all")


def run(
    model: Any,
    tasks: Sequence[Task],
    out: Path,
    each: int = 4,
    sets: int = 2,
    pairs: int = 64,
    pairing: str = "every",
    seed: int = 0,
) -> Mapping[str, int]:
    """Writes the preference file `out`, its scores and its manifest; returns the counts. `tasks` are of one suite.

    each, sets    candidates at every temperature of a task with one reply, and of a task with a set of replies
    """
    settings = {"suite": tasks[0].suite, "level": "sequence", "each": each, "sets": sets, "seed": seed}
    settings |= {
        "pairing": pairing,
        "pairs": pairs,
        "grid": list(GRID),
        "tasks": selection(task.id for task in tasks),
        **origin(model),
        WORDING: wording((task.id, [task.family, task.digest]) for task in tasks),
    }
    with Journal(out, settings) as journal:
        for task in tqdm([t for t in tasks if t.id not in journal.counts], desc=f"sample {tasks[0].suite}"):
            candidates = decode(model, task, each if task.replies == 1 else sets, seed)
            counts: Counter[str] = Counter(prompts=1, candidates=len(candidates))
            made = make_pairs(task, candidates, pairing, pairs, seed, counts)
            journal.write(task.id, (vote.to_record() for vote in made), counts, _scores(candidates))
        journal.finish()
        _write_scores(out, journal)
        return journal.total


def choose(
    tasks: Sequence[Task],
    split: str = "all",
    per_cluster: int | None = None,
    limit: int | None = None,
    family: str | None = None,
) -> list[Task]:
    """The tasks of a split (and of one family), thinned evenly within every family of a cluster and then over all.

    They come in the order of the sha256 of their ids, so that what a run has done so far covers families and clusters alike.
    """
    groups: dict[tuple[str, str], list[Task]] = {}
    families = sorted({task.family for task in tasks})
    if family not in (None, *families):
        raise PlaygroundError(f"`family` must be one that the suite has ({', '.join(families)}), got {family!r}.")
    for task in tasks:
        if split in ("all", task.split) and family in (None, task.family):
            groups.setdefault((task.family, task.cluster), []).append(task)
    if not groups:
        raise PlaygroundError(f"`split` must be one that the suite has tasks of ({', '.join(SPLITS)}), got {split!r}.")
    kept = {task.id for group in groups.values() for task in _thinned(group, per_cluster)}
    thinned = _thinned([task for task in tasks if task.id in kept], limit)
    return sorted(thinned, key=lambda task: hashlib.sha256(task.id.encode()).digest())


def decode(model: Any, task: Task, count: int, seed: int) -> list[Candidate]:
    """`count` candidates at every temperature of GRID, in its order; batches of at most ROWS rows share the prompt."""
    copies = {t: 1 if t == 0 else count * task.replies for t in GRID}
    specs = [f"fixed:temperature={t:g}" for t, number in copies.items() for _ in range(number)]
    traces = map(lean, in_batches(model, task.request(stream_key(seed, task.id)), specs, ROWS))
    candidates = []
    for temperature, number in copies.items():
        mine = [next(traces) for _ in range(number)]
        for k in range(count):
            replies = tuple(mine * task.replies if number == 1 else mine[k * task.replies : (k + 1) * task.replies])
            candidates.append(Candidate(replies, task.score([trace.text for trace in replies]), temperature))
    return candidates


def make_pairs(
    task: Task, candidates: Sequence[Candidate], pairing: str, pairs: int, seed: int, counts: Counter[str]
) -> Iterator[Preference]:
    """The pairs of one task without those that teach nothing; `counts` says why each left."""
    random = Random(f"{seed} {task.suite} {task.id}")
    for k, (winner, loser) in enumerate(pairs_of(candidates, pairing, pairs, random, counts)):
        vote = preference(f"{task.suite}-{task.id}-{seed}-{k}", task.prompt, task.family, winner, loser)
        yield marked(vote, task.metric)


def scores_file(out: Path) -> Path:
    """Where the scores of all candidates are kept."""
    return out.with_name(out.name + ".scores.jsonl")


def _thinned(tasks: list[Task], limit: int | None) -> list[Task]:
    if limit is None or limit >= len(tasks):
        return tasks
    return [tasks[i * len(tasks) // limit] for i in range(limit)]


def _scores(candidates: Sequence[Candidate]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for candidate in candidates:
        found.setdefault(f"fixed:temperature={candidate.temperature:g}", []).append(candidate.score)
    return found


def _write_scores(out: Path, journal: Journal) -> None:
    lines = (json.dumps({"id": name, "scores": scores}) + "\n" for name, scores in journal.notes.items())
    scores_file(out).write_text("".join(lines), encoding="utf-8")
