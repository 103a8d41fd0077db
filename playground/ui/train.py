"""Train: votes become a head, in a process of its own; a finished head is a policy at once, and in the Arena on promotion.

Every handler asks again whether its visitor may train: Gradio's private events can be called by anybody.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from playground.errors import PlaygroundError
from playground.parts import Parts
from playground.training.inventory import LEVELS
from playground.training.jobs import Event, Job, Jobs
from playground.training.lpo import LOSSES
from playground.training_job import checked_name, free_name, plan_for, work_folder
from playground.ui import operators
from playground.ui.components import component
from playground.ui.training_charts import accuracy_chart, drawn_chart, loss_chart, predicted_chart
from playground.ui.training_view import View, percent, usable, view
from playground.ui.wire import decoded, encoded

COMMAND = (sys.executable, "-m", "playground.training_job")
LEAD = (
    "The language model stays as it is; a small head learns from votes which temperature to use. It is trained beside the "
    "page, one at a time, and can be named in Compare as soon as it is done."
)
VOTES = "votes"
UNIFORM = ("a uniform head", "")
EVERY = 1.0  # seconds between two looks at a job
LOSS_NAMES = {
    "separate": "separate · from the temperatures that were drawn (LPO, eq. 10)",
    "latent-token": "latent-token · from the text, any temperature, per token (eq. 11)",
    "latent-sequence": "latent-sequence · from the text, one temperature a reply (eq. 11)",
    "joint": "joint · eq. 10 shifted by what the text alone explains (eq. 9)",
    "nll": "nll · imitates the chosen reply (baseline)",
}


class Train:
    """The handlers. What runs belongs to the server, not to a page: a page that is opened later sees it too."""

    def __init__(self, parts: Parts, jobs: Jobs | None = None) -> None:
        self.parts = parts
        self.jobs = jobs or Jobs(COMMAND)
        self._counted: tuple[list[Any], Event] | None = None

    @property
    def preferences(self) -> Path:
        """Where preference files are looked for."""
        return self.parts.settings.data_folder / "preferences"

    def sources(self) -> list[tuple[str, str]]:
        """What may be chosen: the votes of this playground, and the files by name."""
        files = sorted(self.preferences.glob("*.jsonl"))
        named = [(f"{file.name} ({file.stat().st_size / 1e6:.1f} MB)", file.name) for file in files]
        return [("votes of this playground", VOTES), *named]

    def count(self, sources: Any, unblind: Any, visitor: Any) -> None:
        """Begins to count what these data hold. Raises PlaygroundError in one sentence."""
        self._allow(visitor)
        self._start({"task": "count", **self._data(sources, unblind)})

    def start(
        self, sources: Any, unblind: Any, level: Any, loss: Any, begin: Any, name: Any, seed: Any, visitor: Any
    ) -> None:
        """Begins a training; `begin` names the head to go on from. Raises PlaygroundError in one sentence."""
        self._allow(visitor)
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
            "seed": _seed(seed),
            "start": self._begin(begin, level),
            **self._data(sources, unblind),
        }
        self._start(plan)

    def stop(self, visitor: Any) -> None:
        """Ends what runs, within seconds."""
        self._allow(visitor)
        self.jobs.stop()

    def promote(self, name: Any, visitor: Any) -> str:
        """Lets the head meet others in the Arena; the sentence to show."""
        self._allow(visitor)
        self.parts.shelf.promote(str(name))
        return f"{name} meets others in the Arena from the next battle on."

    def withdraw(self, name: Any, visitor: Any) -> str:
        """Takes the head out of the Arena; the sentence to show."""
        self._allow(visitor)
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
            parts.append(f"{percent(figures['held_out_accuracy'])} of {figures['held_out_pairs']} held-out pairs right")
        parts += [f"parent {parent_spec(self.parts, head).partition('checkpoint=')[2] or 'the untrained head'}", where]
        return " · ".join(parts), head.card

    def seen(self) -> View:
        """What the latest job says; until it has counted, what was counted of the same data before."""
        job = self.jobs.latest
        seen = view(job)
        chosen = [job.plan[key] for key in ("votes", "unblind", "files")] if job else []
        if seen.data is not None:
            self._counted = chosen, seen.data
        elif self._counted is not None and self._counted[0] == chosen:
            seen.data = self._counted[1]
        return seen

    def _start(self, asked: dict[str, Any]) -> None:
        settings = self.parts.settings
        plan = plan_for(settings, self.parts.language_model, **asked)
        self.jobs.start(plan, work_folder(settings) / "log.txt", self._ended)

    def _ended(self, job: Job) -> None:
        if job.plan["task"] == "train":
            self.parts.shelf.refresh()

    def _data(self, sources: Any, unblind: Any) -> dict[str, Any]:
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

    def _allow(self, visitor: Any) -> None:
        refusal = operators.refusal(visitor)
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


def _seed(value: Any) -> int:
    try:
        seed = int(value)
    except (TypeError, ValueError):
        seed = -1
    if not 0 <= seed < 2**31:
        raise PlaygroundError("Seed must be a whole number from 0.")
    return seed


def _same_data(seen: View, job: Job | None, tab: Train, sources: Any, unblind: Any) -> bool:
    """Whether the counts of `seen` are those of the data chosen now."""
    try:
        chosen = tab._data(sources, unblind)
    except PlaygroundError:
        return False
    return job is not None and seen.data is not None and all(job.plan[key] == value for key, value in chosen.items())


def charts_of(seen: View, level: str, unit: str) -> list[Any]:
    """The four figures of a job, None where there is nothing to draw yet."""
    result = seen.result if seen.state == "done" and seen.task == "train" else None
    kept, pairs = (result["epoch"], result["held_out_pairs"]) if result else (None, None)
    rows = seen.data["drawn"][level] if seen.data else []
    return [
        loss_chart(seen.epochs, kept) if seen.epochs else None,
        accuracy_chart(seen.epochs, pairs, kept) if seen.epochs else None,
        drawn_chart(rows, unit) if rows else None,
        _predicted(result) if rows or result else None,
    ]


def _predicted(result: Event | None) -> go.Figure:
    return (
        predicted_chart(result["grid"], result["before"], result["after"], result["start"])
        if result
        else predicted_chart()
    )


def build(parts: Parts, tab_item: gr.Tab, tabs: gr.Tabs, lanes: gr.HTML) -> None:
    """Lay out the tab and wire its events; `lanes` is Compare's policy picker."""
    tab = Train(parts)
    refused = gr.Markdown("", elem_id="train-refused", elem_classes="pg-said")
    with gr.Column(visible=False, elem_id="train-ground") as ground:
        gr.Markdown(LEAD, elem_classes="pg-quietly")
        with gr.Row(elem_classes="pg-fields"):
            sources = gr.CheckboxGroup(tab.sources(), value=[VOTES], label="Learn from", elem_id="train-sources")
        unblind = gr.Checkbox(
            False, label="also votes cast in Compare, where the names were seen", container=False,
            elem_id="train-unblind",
        )  # fmt: skip
        with gr.Row(elem_classes="pg-fields", equal_height=True):
            level = gr.Radio(
                list(LEVELS), value="token", label="One temperature per", elem_id="train-level", scale=2, min_width=250
            )
            begins = gr.Dropdown(
                tab.starts("token"), value=tab.starts("token")[0][1], label="Start from", elem_id="train-begin",
                scale=2, min_width=220,
            )  # fmt: skip
            name = gr.Textbox("", label="Name", placeholder="chosen for you", elem_id="train-name", min_width=170)
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="train-seed", min_width=90)
        with gr.Row(elem_classes="pg-fields"):
            loss = gr.Dropdown(
                [(LOSS_NAMES.get(name, name), name) for name in LOSSES], value="separate", label="Loss",
                elem_id="train-loss",
            )  # fmt: skip
        said = gr.Markdown("", elem_id="train-said", elem_classes="pg-said")
        with gr.Row(elem_classes="pg-actions", equal_height=True):
            start = gr.Button("Train", variant="primary", elem_id="train-start", scale=2, min_width=120)
            stop = gr.Button("Stop", elem_id="train-stop", min_width=80, interactive=False)
            count = gr.Button("Count again", elem_id="train-count", min_width=110)
        state = component("training", encoded(tab.seen().record(0)), elem_id="train-state")
        with gr.Column(visible=False, elem_id="train-charts") as drawn:
            plot: dict[str, Any] = {"show_label": False, "container": False, "min_width": 320}
            with gr.Row():
                plots = [gr.Plot(**plot, elem_classes="pg-chart", visible=False) for _ in range(2)]
            with gr.Row():
                plots += [gr.Plot(**plot, elem_classes="pg-chart", visible=False) for _ in range(2)]
        with gr.Column(visible=False, elem_id="train-heads") as heads_part:
            gr.Markdown("#### Trained heads")
            with gr.Row(elem_classes="pg-actions", equal_height=True):
                head = gr.Dropdown([], label="Head", elem_id="train-head", scale=2, min_width=200)
                beside = gr.Button("Compare with its parent", elem_id="train-compare", min_width=220)
                promote = gr.Button("Promote to the Arena", elem_id="train-promote", min_width=200)
                withdraw = gr.Button("Withdraw", elem_id="train-withdraw", min_width=100)
            head_said = gr.Markdown("", elem_id="train-head-said", elem_classes="pg-said")
            with gr.Accordion("Card", open=False, elem_classes="pg-more pg-checkpoint"):
                card = gr.Markdown("")
    timer = gr.Timer(EVERY, active=False)
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # one after the other, so that what was asked before a change of level is not answered after it
    in_turn: dict[str, Any] = {**private, "concurrency_limit": 1, "concurrency_id": "train"}
    chosen = [sources, unblind, level, loss]
    moving = [state, said, drawn, *plots, start, stop, timer]
    about = [heads_part, head, head_said, card, promote, withdraw]

    def heads_now(wanted: Any = None) -> list[Any]:
        names = [one.name for one in parts.shelf.trained]
        picked = wanted if wanted in names else names[-1] if names else None
        sentence, text = tab.told(picked)
        promoted = picked in parts.shelf.now.promoted
        buttons = [gr.update(interactive=bool(picked) and not promoted), gr.update(interactive=promoted)]
        return [gr.update(visible=bool(names)), gr.update(choices=names, value=picked), sentence, text, *buttons]

    def now(sources: Any, unblind: Any, level: str, loss: str, before: Any, again: bool) -> list[Any]:
        """What the moving part shows; only what differs from what the browser has, unless `again`."""
        seen, known = tab.seen(), {} if again else decoded(before)
        running = seen.state == "running"
        record = seen.record(tab.jobs.started)
        if record == known:
            return [gr.skip()] * len(moving)
        sentence = usable(seen.data, level, loss) if _same_data(seen, tab.jobs.latest, tab, sources, unblind) else ""
        at = str((tab.jobs.latest.plan if tab.jobs.latest else {}).get("level", level))
        fresh = again or any(record[key] != known.get(key) for key in ("job", "drawn", "state", "lead"))
        figures = charts_of(seen, at, "tokens" if at == "token" else "replies") if fresh else [gr.skip()] * 4
        shown = [figure if not fresh else gr.update(value=figure, visible=figure is not None) for figure in figures]
        buttons = [gr.update(interactive=not running), gr.update(interactive=running and seen.task == "train")]
        return [
            encoded(record), sentence, gr.update(visible=True), *shown, *buttons, gr.Timer(active=running)
        ]  # fmt: skip

    def tick(
        sources: Any, unblind: Any, level: str, loss: str, before: Any, head: Any, visitor: gr.Request
    ) -> list[Any]:
        if operators.refusal(visitor):
            return [gr.skip()] * (len(moving) + len(about))
        seen = tab.seen()
        ended = seen.state == "done" and seen.task == "train" and decoded(before).get("state") != "done"
        renewed = heads_now(seen.result["name"] if seen.result else head) if ended else [gr.skip()] * len(about)
        return [*now(sources, unblind, level, loss, before, False), *renewed]

    def told_of(call: Any, *values: Any) -> list[Any]:
        try:
            call(*values)
        except PlaygroundError as error:
            return [str(error), gr.Timer(active=True)]
        return ["", gr.Timer(active=True)]

    def begin_count(sources: Any, unblind: Any, visitor: gr.Request) -> list[Any]:
        return told_of(tab.count, sources, unblind, visitor)

    def begin(
        sources: Any, unblind: Any, level: Any, loss: Any, begins: Any, name: Any, seed: Any, visitor: gr.Request
    ) -> list[Any]:
        return told_of(tab.start, sources, unblind, level, loss, begins, name, seed, visitor)

    def end(visitor: gr.Request) -> list[Any]:
        return told_of(tab.stop, visitor)

    def opened(sources_now: Any, unblind: Any, level: str, loss: str, visitor: gr.Request) -> list[Any]:
        sentence = operators.refusal(visitor)
        if sentence:
            return [sentence, gr.update(visible=False), gr.skip(), *[gr.skip()] * (len(moving) + len(about))]
        listed = tab.sources()
        seen = tab.seen()
        if seen.data is None and seen.state != "running" and sources_now:
            told_of(tab.count, sources_now, unblind, visitor)
        kept = [name for name in sources_now or [] if name in dict(map(reversed, listed))]  # type: ignore[arg-type]
        moved = now(kept, unblind, level, loss, None, True)
        return ["", gr.update(visible=True), gr.update(choices=listed, value=kept), *moved, *heads_now()]

    def asked(sources: Any, unblind: Any, level: str, loss: str, visitor: gr.Request) -> Any:
        if operators.refusal(visitor):
            return gr.skip()
        seen = tab.seen()
        return usable(seen.data, level, loss) if _same_data(seen, tab.jobs.latest, tab, sources, unblind) else ""

    def levelled(sources: Any, unblind: Any, level: str, loss: str, visitor: gr.Request) -> list[Any]:
        listed = tab.starts(level) if level in LEVELS else [UNIFORM]
        return [asked(sources, unblind, level, loss, visitor), gr.update(choices=listed, value=listed[0][1])]

    def look(name: Any, visitor: gr.Request) -> list[Any]:
        return [gr.skip()] * len(about) if operators.refusal(visitor) else heads_now(name)

    def compare(name: Any, visitor: gr.Request) -> list[Any]:
        try:
            tab._allow(visitor)
            return [tab.beside_parent(name), gr.Tabs(selected="compare"), gr.skip()]
        except PlaygroundError as error:
            return [gr.skip(), gr.skip(), str(error)]

    def moved_by(call: Any) -> Any:
        def handler(name: Any, visitor: gr.Request) -> list[Any]:
            try:
                sentence = call(name, visitor)
            except PlaygroundError as error:
                return [*[gr.skip()] * 2, str(error), *[gr.skip()] * 3]
            listed = heads_now(name)
            return [*listed[:2], f"{listed[2]}\n\n{sentence}", *listed[3:]]

        return handler

    everything = [refused, ground, sources, *moving, *about]
    tab_item.select(opened, chosen, everything, **private)
    timer.tick(tick, [*chosen, state, head], [*moving, *about], **in_turn)
    count.click(begin_count, [sources, unblind], [said, timer], **private)
    start.click(begin, [*chosen, begins, name, seed], [said, timer], **private)
    stop.click(end, None, [said, timer], **private)
    for control in (sources.input, unblind.input):
        control(begin_count, [sources, unblind], [said, timer], **private)
    loss.input(asked, chosen, said, **in_turn)
    level.input(levelled, chosen, [said, begins], **in_turn)
    head.input(look, head, about, **private)
    beside.click(compare, head, [lanes, tabs, head_said], **private)
    promote.click(moved_by(tab.promote), head, about, **private)
    withdraw.click(moved_by(tab.withdraw), head, about, **private)
