"""What a visitor may ask of the Train tab: to count votes, start and stop a training, promote a head and withdraw it.

Every verb asks again whether its visitor may train: Gradio's private events can be called by anybody.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playground.decoding.counts import several
from playground.errors import PlaygroundError
from playground.parts import Parts
from playground.training.inventory import LEVELS, preference_files
from playground.training.jobs import Event, Job, Jobs
from playground.training.lpo import LOSSES
from playground.training_job import checked_name, forget, free_name, plan_for, work_folder
from playground.ui.fields import whole
from playground.ui.operators import Operators
from playground.ui.training_view import View, percent, usable, view

COMMAND = (sys.executable, "-m", "playground.training_job")
VOTES = "votes"
OUTDATED = "The votes have changed since they were counted; count again to see them."
UNIFORM = ("a uniform head", "")


class Train:
    """What runs belongs to the server, not to a page: a page that is opened later sees it too."""

    def __init__(self, parts: Parts, operators: Operators, jobs: Jobs | None = None) -> None:
        self.parts, self.operators = parts, operators
        self.jobs = jobs or Jobs(COMMAND)
        self._counted: tuple[list[Any], Event] | None = None
        self._held: list[Any] = []  # what the data of the latest job held when it began

    @property
    def preferences(self) -> Path:
        """Where preference files are looked for."""
        return self.parts.settings.data_folder / "preferences"

    @property
    def place(self) -> str:
        """Where a preference file must lie to be listed, in a sentence."""
        return f"Preference files are listed from {self.preferences} (*.jsonl)."

    def sources(self) -> list[tuple[str, str]]:
        """What may be chosen: the votes of this playground, and the files by name."""
        files = preference_files(self.preferences).items()
        named = [(f"{name} ({size / 1e6:.1f} MB)", name) for name, size in files]
        return [("votes of this playground", VOTES), *named]

    def count(self, sources: Any, unblind: Any, visitor: Any) -> None:
        """Begins to count what these data hold, in place of a count that runs. Raises PlaygroundError in one sentence."""
        self.allow(visitor)
        self._start({"task": "count", **self.data(sources, unblind)})

    def start(
        self, sources: Any, unblind: Any, level: Any, loss: Any, begin: Any, name: Any, seed: Any, visitor: Any
    ) -> None:
        """Begins a training; `begin` names the head to go on from. Raises PlaygroundError in one sentence."""
        self.allow(visitor)
        if level not in LEVELS or loss not in LOSSES:
            raise PlaygroundError(f"Level must be one of {', '.join(LEVELS)}, and loss one of {', '.join(LOSSES)}.")
        settings = self.parts.settings
        taken = {head.name for head in self.parts.heads}
        wanted = str(name or "").strip() or free_name(settings, level, taken)
        plan = {
            "task": "train",
            "level": level,
            "loss": loss,
            "name": checked_name(settings, wanted, taken),
            "seed": whole("Seed", seed, 0, 2**31 - 1),
            "start": self._begin(begin, level),
            **self.data(sources, unblind),
        }
        self._start(plan)

    def stop(self, visitor: Any) -> None:
        """Ends what runs, within seconds."""
        self.allow(visitor)
        self.jobs.stop()

    def promote(self, name: Any, visitor: Any) -> str:
        """Lets the head meet others in the Arena; the sentence to show."""
        self.allow(visitor)
        self.parts.shelf.promote(str(name))
        return f"{name} meets others in the Arena from the next battle on."

    def withdraw(self, name: Any, visitor: Any) -> str:
        """Takes the head out of the Arena; the sentence to show."""
        self.allow(visitor)
        self.parts.shelf.withdraw(str(name))
        return f"{name} is out of the Arena from the next battle on; votes on it stay."

    def beside_parent(self, name: Any) -> list[str]:
        """The lanes that compare a head with its parent. Raises PlaygroundError for a head that is not here."""
        head = self._named(name)
        return [f"{head.meta.kind}:checkpoint={head.name}", parent_spec(self.parts, head)]

    def told(self, name: Any) -> tuple[str, str]:
        """What a head is, in a line, and its card; nothing for a head that is not here."""
        head = next((head for head in self.parts.shelf.trained if head.name == name), None)
        if head is None:
            return "", ""
        where = "in the Arena" if head.name in self.parts.shelf.now.promoted else "not in the Arena"
        figures = head.meta.metrics.get("training", {})
        parts = [f"**{head.name}**", head.meta.kind, f"loss {head.meta.loss}"]
        if "held_out_accuracy" in figures:
            parts.append(
                f"{percent(figures['held_out_accuracy'])} of {several(figures['held_out_pairs'], 'held-out pair')} right"
            )
        parts += [f"parent {parent_spec(self.parts, head).partition('checkpoint=')[2] or 'the untrained head'}", where]
        return " · ".join(parts), head.card

    def seen(self) -> View:
        """What the latest job says; until it has counted, what was counted of the same data before."""
        job = self.jobs.latest
        seen = view(job, [head.name for head in self.parts.shelf.trained] if job else [])
        chosen = [job.plan[key] for key in ("votes", "unblind", "files")] if job else []
        if seen.data is not None:
            self._counted = chosen, seen.data
        elif self._counted is not None and self._counted[0] == chosen:
            seen.data = self._counted[1]
        return seen

    def outdated(self) -> bool:
        """Whether votes have come to the data of the latest job, or gone, since it began to count them."""
        return self.jobs.latest is not None and self._holds(self.jobs.latest.plan) != self._held

    def _holds(self, plan: Mapping[str, Any]) -> list[Any]:
        files = [Path(file) for file in plan["files"]]
        status = [(file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else None for file in files]
        return [self.parts.store.counts()["votes"] if plan["votes"] else 0, *status]

    def _start(self, asked: dict[str, Any]) -> None:
        settings = self.parts.settings
        self._held = self._holds(asked)
        plan = plan_for(settings, self.parts.language_model, **asked)
        self.jobs.start(plan, work_folder(settings) / "log.txt", self._ended, asked["task"] == "count")

    def _ended(self, job: Job) -> None:
        forget(Path(job.plan["folder"]))
        if job.plan["task"] == "train":
            self.parts.shelf.refresh()

    def data(self, sources: Any, unblind: Any) -> dict[str, Any]:
        """What of a plan says where the votes come from. Raises PlaygroundError in one sentence."""
        chosen = sources if isinstance(sources, list) else []
        known = [name for _, name in self.sources()]
        if not chosen or any(name not in known for name in chosen):
            raise PlaygroundError("Choose votes to learn from: those of this playground, or a file that is listed.")
        files = [str(self.preferences / name) for name in known if name in chosen and name != VOTES]
        return {"votes": VOTES in chosen, "unblind": bool(unblind), "files": files}

    def starts(self, level: str) -> list[tuple[str, str]]:
        """The heads that a training may go on from, the one in use first, and the uniform one."""
        used = str(self.parts.catalogue.parse(f"adaptive-{level}").values["checkpoint"])
        names = [head.name for head in self.parts.heads if head.meta.kind == f"adaptive-{level}"]
        return [(name, name) for name in sorted(names, key=lambda name: name != used)] + [UNIFORM]

    def _begin(self, name: Any, level: str) -> str:
        allowed = [value for _, value in self.starts(level)]
        if name not in allowed:
            raise PlaygroundError(f"Start from a head of the {level} level, or from the uniform one.")
        return str(name)

    def _named(self, name: Any) -> Any:
        head = next((head for head in self.parts.shelf.trained if head.name == name), None)
        if head is None:
            raise PlaygroundError("Choose a head of the list.")
        return head

    def allow(self, visitor: Any) -> None:
        """Raises PlaygroundError where this visitor may not train."""
        refusal = self.operators.refusal(visitor)
        if refusal:
            raise PlaygroundError(refusal)


def parent_spec(parts: Parts, head: Any) -> str:
    """The policy that a head is compared with: the head its training began from; where it began from nothing, the one that
    its kind uses otherwise, and without such a one the untrained head, which draws every temperature alike."""
    kind, others = head.meta.kind, {other.name for other in parts.heads if other.name != head.name}
    began = (head.meta.parent or "").partition("@")[0]
    default = str(parts.catalogue.parse(kind).values["checkpoint"])
    known = next((name for name in (began, default) if name in others), None)
    if known:
        return f"{kind}:checkpoint={known}"
    return f"random:per={'reply' if kind == 'adaptive-sequence' else 'token'}"


def offer(seen: View, tab: Train, sources: Any, unblind: Any, level: str, loss: str) -> tuple[str, bool]:
    """What is said of the data chosen now, and whether a training may be started on them: one that must fail may not."""
    if seen.data is None or not same_data(seen, tab, sources, unblind):
        return "", seen.state != "running"
    said, outdated = usable(seen.data, level, loss), tab.outdated()
    may = bool(seen.data["usable"][level][loss]["votes"]) or outdated
    return f"{said} {OUTDATED}" if outdated else said, may and seen.state != "running"


def same_data(seen: View, tab: Train, sources: Any, unblind: Any) -> bool:
    """Whether the counts of `seen` are those of the data chosen now."""
    job = tab.jobs.latest
    try:
        chosen = tab.data(sources, unblind)
    except PlaygroundError:
        return False
    return job is not None and seen.data is not None and all(job.plan[key] == value for key, value in chosen.items())
