"""`scores`: the score of every task at every setting, once; a policy at sequence level is then a look-up in this table.

Two policies that give a task the same setting share its replies, so they differ only where they choose differently. All
replies of a task are decoded in batches of at most ROWS rows, its prompt read once. Temperature 0 is decoded once, since
it always says the same: a set of eight is then eight times that reply.

Every task has random numbers of its own. With the same for all, a lucky draw at one temperature is lucky in every cluster, and
an interval over clusters, which takes them for independent, is too narrow (LOG.md, 2026-11-22).

FILE              JSON lines, two a task: {"id", "scores": {setting: [score of each candidate]}}; all tasks without a filter
                  first, then all with the filters, so that an unfinished table has what matters most
FILE.replies.jsonl   {"id", "replies": {setting: [[text, …] of each candidate]}}
FILE.manifest.json   what must not change within a table, and "tasks": {id: digest of what is asked and how it is scored};
                     a table of a former version has no digests, which are added
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from models.files import replace_file
from playground.decoding.sampling import stream_key
from playground.errors import PlaygroundError
from playground.training.evaluation.plan import Plan, setting
from playground.training.labels.lanes import ROWS, in_batches
from playground.training.labels.tasks import Task

TASKS = "tasks"
SEED = 20_000_003  # of evaluation replies; labels are sampled with other seeds
Scores = dict[str, dict[str, list[float]]]
Replies = dict[str, dict[str, list[list[str]]]]


def run(model: Any, tasks: Sequence[Task], plan: Plan, out: Path, seed: int = SEED) -> Scores:
    """Decodes what the table `out` does not hold yet; returns all of it. `model` satisfies the engine's protocol.

    Raises PlaygroundError where `out` was begun with another model, seed or plan, or with other tasks under the same ids.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    measured = sorted(plan.measured(tasks), key=lambda task: hashlib.sha256(task.id.encode()).digest())
    by = {**manifest(plan, seed), "model": model.name, "revision": model.revision, "precision": model.precision}
    check_begun(out, by, measured, [replies_file(out)])
    _cut(replies_file(out), _cut(out))
    known, _ = read(out)
    passes = [name for name in plan.settings if name not in plan.filtered], plan.filtered
    with out.open("a", encoding="utf-8") as file, replies_file(out).open("a", encoding="utf-8") as texts:
        for names in passes:
            wanted = [task for task in measured if not known.get(task.id, {}).keys() >= set(names)]
            for task in tqdm(wanted, desc=f"scores {plan.suite}, {len(names)} settings"):
                replies = candidates(model, task, plan, seed, names)
                scores = {name: [task.score(texts) for texts in sets] for name, sets in replies.items()}
                rows = {"replies": replies}, {"scores": scores}
                for stream, row in zip((texts, file), rows, strict=True):
                    stream.write(json.dumps({"id": task.id, **row}, ensure_ascii=False) + "\n")
                    stream.flush()
                known.setdefault(task.id, {}).update(scores)
    return known


def candidates(
    model: Any, task: Task, plan: Plan, seed: int, names: Sequence[str] | None = None
) -> dict[str, list[list[str]]]:
    """The texts of every candidate of one task by setting, all drawn from the task's one prompt; all settings by default."""
    greedy = setting(0.0)
    counts = plan.replies(task)
    replicas = {name: counts[name] for name in names or plan.settings}
    specs = [name for name, count in replicas.items() for _ in range(count)]
    texts = (trace.text for trace in in_batches(model, task.request(stream_key(seed, task.id)), specs, ROWS))
    found: dict[str, list[list[str]]] = {}
    for name, count in replicas.items():
        replies = [next(texts) for _ in range(count)]
        if name == greedy:
            replies *= task.replies
        found[name] = [replies[i : i + task.replies] for i in range(0, len(replies), task.replies)]
    return found


def read(out: Path) -> tuple[Scores, Replies]:
    """Scores and replies by task; a half-written last line of either file is passed over, since its run may go on."""
    scores: Scores = {}
    for row in _rows(out):
        scores.setdefault(row["id"], {}).update(row["scores"])
    replies: Replies = {}
    for row in _rows(replies_file(out)):
        if row["id"] in scores:
            replies.setdefault(row["id"], {}).update(row["replies"])
    return scores, replies


def replies_file(out: Path) -> Path:
    """Where the texts of the table `out` are kept."""
    return out.with_name(out.name + ".replies.jsonl")


def manifest_file(out: Path) -> Path:
    """Where it stands what made the table `out`."""
    return out.with_name(out.name + ".manifest.json")


def manifest(plan: Plan, seed: int) -> dict[str, Any]:
    """What must not change within a table, but for the model: settings, samples and the seed."""
    return {
        "suite": plan.suite,
        "seed": seed,
        "samples": {stratum.name: [stratum.samples, stratum.filtered] for stratum in plan.strata},
        "settings": list(plan.settings),
    }


def made_by(out: Path) -> dict[str, Any]:
    """What made the table `out`, without its tasks. Raises PlaygroundError where its manifest cannot be read."""
    return {key: value for key, value in _manifest(out).items() if key != TASKS}


def check_begun(out: Path, by: Mapping[str, Any], tasks: Iterable[Task], beside: Sequence[Path] = ()) -> None:
    """Writes down what makes the table `out`, and a digest of each of its tasks; more tasks may be added later.

    Raises PlaygroundError, before anything is written, where `out` was begun with something else or with other tasks
    under the same ids, and where `out`, or a file `beside` it, is none of a table.
    """
    began: dict[str, Any] = {}
    if manifest_file(out).is_file():
        began = _manifest(out)
        differs = next((key for key, value in by.items() if began.get(key) != value), None)
        if differs is not None:
            raise PlaygroundError(
                f"{out} was begun with another {differs} ({_short(began.get(differs))}, now {_short(by[differs])}); "
                "name another place."
            )
    else:
        for path in (out, *beside):
            if path.exists() and (not path.is_file() or path.stat().st_size):
                raise PlaygroundError(f"{path} exists and is not of an unfinished table; name another place.")
    known, asked = began.get(TASKS, {}), {task.id: task.digest for task in tasks}
    other = next((name for name, digest in asked.items() if known.get(name, digest) != digest), None)
    if other is not None:
        raise PlaygroundError(f"{out} was begun with another task under the id {other!r}; name another place.")
    now = {**began, **by, TASKS: {**known, **asked}}
    if now != began:
        replace_file(manifest_file(out), (json.dumps(now, indent=1) + "\n").encode())


def _manifest(out: Path) -> dict[str, Any]:
    path = manifest_file(out)
    with contextlib.suppress(ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get(TASKS, {}), dict):
            return found
    raise PlaygroundError(f"{path} must say what made the table {out}, and cannot be read; remove both to begin anew.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:  # not splitlines: a reply may hold U+2028
        yield json.loads(line)


def _cut(path: Path, most: int | None = None) -> int:
    """Takes off what a killed run left of its last line, and what stands behind `most` lines; how many are left."""
    if not path.is_file():
        return 0
    lines = path.read_bytes().split(b"\n")[:-1][:most]
    with path.open("r+b") as file:
        file.truncate(sum(len(line) + 1 for line in lines))
    return len(lines)
