"""What the Train tab says of a job: its phase, its counts in words and as a table, its curves. Plain values, no Gradio."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from playground.decoding.counts import several
from playground.training.exclusions import counting, in_words
from playground.training.jobs import Event, Job

NOT_READ = {  # why a vote of the database is not read at all
    "not_blind": "cast in Compare, where the names were seen",
    "damaged": "no longer as stored",
    "missing": "no longer in the database",
}
SOURCES = {"human": "by people", "verifier": "by a verifiable reward", "heuristic": "by a rule"}


@dataclass
class View:
    """A job as its events tell it. `state` is idle, running, done, stopped or error; `head` the head that an ended one made."""

    state: str = "idle"
    task: str = ""
    phase: str = ""
    done: int = 0
    total: int = 0
    sentence: str = ""
    head: str = ""
    data: Event | None = None
    epochs: list[Event] = field(default_factory=list)
    result: Event | None = None
    events: int = 0

    def record(self, job: int) -> dict[str, Any]:
        """What the browser gets: no curve, which is a chart's, and the counts as rows of text."""
        return {
            "job": job,
            "events": self.events,
            "drawn": len(self.epochs),
            "state": self.state,
            "phase": self.phase,
            "done": self.done,
            "total": self.total,
            "sentence": self.sentence,
            "lead": counted(self.data) if self.data else "",
            "rows": table(self.data) if self.data else [],
        }


def view(job: Job | None, heads: Collection[str] = ()) -> View:
    """The view of a job, or of none. `heads` are the names of the heads there are: a child may end after it made one."""
    seen = View()
    if job is None:
        return seen
    seen.task = str(job.plan.get("task", ""))
    seen.state, events = "running", list(job.events)
    for event in events:
        kind = event["event"]
        if kind == "phase":
            seen.phase, seen.done, seen.total = event["phase"], event.get("done", 0), event.get("total", 0)
        elif kind == "data":
            seen.data = event
        elif kind == "epoch":
            seen.epochs.append(event)
            seen.phase, seen.done, seen.total = "Training: epoch", event["epoch"], event["of"]
        else:
            seen.state, seen.result = kind, event
    seen.events = len(events)
    if seen.task == "train" and seen.state != "running":
        made_before = job.plan["name"] if job.plan["name"] in heads else ""
        seen.head = str(seen.result["name"]) if seen.state == "done" and seen.result else made_before
    seen.sentence = _sentence(seen)
    if job.stopping and seen.state == "running":
        seen.phase, seen.done, seen.total = "Stopping", 0, 0
    return seen


def _sentence(seen: View) -> str:
    if seen.state == "error" and seen.result:
        sentence = str(seen.result["sentence"])
        return (
            f"{seen.head} was made and is a policy now, but what followed failed: {sentence}" if seen.head else sentence
        )
    if seen.state == "stopped":
        if seen.head:
            return f"Stopped; {seen.head} was made before and is a policy now."
        return "Stopped; no head was made. The same choices go on from here." if seen.task == "train" else ""
    if seen.state == "done" and seen.task == "train" and seen.result:
        return made(seen.result)
    return ""


def made(result: Mapping[str, Any]) -> str:
    """The sentence of a new head."""
    share, pairs = result["held_out_accuracy"], result["held_out_pairs"]
    told = abs(share - 0.5) > 1.96 * 0.5 / math.sqrt(pairs)  # at best: pairs of one prompt are not independent
    chance = "chance is 50 %" if told else f"chance is 50 %, from which {pairs} cannot tell it"
    early = "Stopped early. " if result["stopped"] else ""
    return (
        f"{early}{result['name']} is a policy now: {percent(share)} of {several(pairs, 'held-out pair')} "
        f"right ({chance}), from {several(result['train_pairs'], 'training pair')}, weights of epoch {result['epoch']}."
    )


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def counted(data: Mapping[str, Any]) -> str:
    """How many votes there are, by source, and what was left out of the database's before."""
    parts = [f"{count} {SOURCES.get(source, source)}" for source, count in data["sources"].items()]
    votes = f"{several(data['votes'], 'vote')}{': ' + ', '.join(parts) if parts else ''}."
    left = reasons(data["excluded"])
    return f"{votes} Not read: {left}." if left else votes


def usable(data: Mapping[str, Any] | None, level: str, loss: str) -> str:
    """How many votes one level and loss can learn from, and why the others teach it nothing."""
    if data is None:
        return ""
    found = data["usable"][level][loss]
    said = f"**{found['votes']} of {several(data['votes'], 'vote')}** can train this, over {several(found['prompts'], 'prompt')}."
    left = reasons(found["dropped"])
    return f"{said} Left out: {left}; {counting(level, loss)}." if left else said


def reasons(counts: Mapping[str, int]) -> str:
    """Counts by reason in words."""
    return in_words({NOT_READ.get(reason, reason): count for reason, count in counts.items()})


def table(data: Mapping[str, Any]) -> list[list[str]]:
    """One row a level and loss: level, loss, usable votes, prompts, left out."""
    return [
        [level, loss, str(found["votes"]), str(found["prompts"]), reasons(found["dropped"]) or "none"]
        for level, losses in data["usable"].items()
        for loss, found in losses.items()
    ]
