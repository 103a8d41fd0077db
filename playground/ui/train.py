"""Train: votes become a head, in a process of its own; a finished head is a policy at once, and in the Arena on promotion.

What a visitor may ask is in ui/training_handlers.py; here it is laid out and wired. Every event asks again whether its
visitor may train: Gradio's private events can be called by anybody.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from playground.errors import PlaygroundError
from playground.parts import Parts
from playground.training.inventory import LEVELS
from playground.training.jobs import Event
from playground.training.lpo import LOSSES
from playground.ui.components import component
from playground.ui.fields import as_typed
from playground.ui.figure import Figure
from playground.ui.operators import Operators
from playground.ui.training_charts import accuracy_chart, drawn_chart, loss_chart, predicted_chart
from playground.ui.training_handlers import UNIFORM, VOTES, Train, offer, same_data
from playground.ui.training_view import View
from playground.ui.wire import decoded, encoded

LEAD = (
    "The language model stays as it is; a small head learns from votes which temperature to use. It is trained beside the "
    "page, one at a time, and can be named in Compare as soon as it is done."
)
EVERY = 1.0  # seconds between two looks at a job
LOSS_NAMES = {
    "separate": "separate · from the temperatures that were drawn (LPO, eq. 10)",
    "latent-token": "latent-token · from the text, any temperature, per token (eq. 11)",
    "latent-sequence": "latent-sequence · from the text, one temperature a reply (eq. 11)",
    "joint": "joint · eq. 10 shifted by what the text alone explains (eq. 9)",
    "nll": "nll · imitates the chosen reply (baseline)",
}


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


def _predicted(result: Event | None) -> Figure:
    if result is None:
        return predicted_chart()
    if "grid" not in result:
        return predicted_chart(instead="not compared with the start: stopped before")
    return predicted_chart(result["grid"], result["before"], result["after"], result["start"])


def build(parts: Parts, operators: Operators, tab_item: gr.Tab, tabs: gr.Tabs, lanes: gr.HTML) -> None:
    """Lay out the tab and wire its events; `lanes` is Compare's policy picker."""
    tab = Train(parts, operators)
    refused = gr.Markdown("", elem_id="train-refused", elem_classes="pg-said")
    with gr.Column(visible=False, elem_id="train-ground") as ground:
        gr.Markdown(LEAD, elem_classes="pg-quietly")
        with gr.Row(elem_classes="pg-fields"):
            sources = gr.CheckboxGroup(tab.sources()[:1], value=[VOTES], label="Learn from", elem_id="train-sources")
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
            seed = as_typed(gr.Number(0, label="Seed", elem_id="train-seed", min_width=90))
        with gr.Row(elem_classes="pg-fields"):
            loss = gr.Dropdown(
                [(LOSS_NAMES.get(name, name), name) for name in LOSSES], value="separate", label="Loss",
                elem_id="train-loss",
            )  # fmt: skip
        said = gr.Markdown("", elem_id="train-said", elem_classes="pg-said")
        denied = gr.Markdown("", elem_id="train-denied", elem_classes="pg-said pg-refused")  # stays until the next act
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
        """What the moving part shows; nothing where the browser has it already, unless `again`."""
        seen, known = tab.seen(), {} if again else decoded(before)
        running = seen.state == "running"
        record = seen.record(tab.jobs.started)
        if not again and encoded(record) == before:
            return [*[gr.skip()] * (len(moving) - 1), gr.skip() if running else gr.Timer(active=False)]
        sentence, may = offer(seen, tab, sources, unblind, level, loss)
        at = str((tab.jobs.latest.plan if tab.jobs.latest else {}).get("level", level))
        fresh = again or any(record[key] != known.get(key) for key in ("job", "drawn", "state", "lead"))
        figures = charts_of(seen, at, "tokens" if at == "token" else "replies") if fresh else [gr.skip()] * 4
        shown = [figure if not fresh else gr.update(value=figure, visible=figure is not None) for figure in figures]
        buttons = [gr.update(interactive=may), gr.update(interactive=running and seen.task == "train")]
        return [
            encoded(record), sentence, gr.update(visible=True), *shown, *buttons, gr.Timer(active=running)
        ]  # fmt: skip

    def tick(
        sources: Any, unblind: Any, level: str, loss: str, before: Any, head: Any, visitor: gr.Request
    ) -> list[Any]:
        if operators.refusal(visitor):
            return [gr.skip()] * (len(moving) + len(about))
        seen = tab.seen()
        ended = seen.head and decoded(before).get("state") != seen.state
        renewed = heads_now(seen.head) if ended else [gr.skip()] * len(about)
        return [*now(sources, unblind, level, loss, before, False), *renewed]

    def told_of(call: Any, *values: Any) -> list[Any]:
        try:
            call(*values)
        except PlaygroundError as error:
            return [error.page, gr.Timer(active=True)]
        return ["", gr.Timer(active=True)]

    def begin_count(sources: Any, unblind: Any, visitor: gr.Request) -> list[Any]:
        return told_of(tab.count, sources, unblind, visitor)

    def begin(
        sources: Any, unblind: Any, level: Any, loss: Any, begins: Any, name: Any, seed: Any, visitor: gr.Request
    ) -> list[Any]:
        return told_of(tab.start, sources, unblind, level, loss, begins, name, seed, visitor)

    def end(visitor: gr.Request) -> list[Any]:
        return told_of(tab.stop, visitor)

    def entered(sources_now: Any, unblind: Any, level: str, loss: str, visitor: gr.Request) -> list[Any]:
        sentence = operators.refusal(visitor)
        if sentence:
            return [sentence, gr.update(visible=False), gr.skip(), *[gr.skip()] * (len(moving) + len(about))]
        listed = tab.sources()
        seen = tab.seen()
        counted = seen.data is not None and same_data(seen, tab, sources_now, unblind) and not tab.outdated()
        trained = seen.data is not None and seen.task == "train"  # its curves stay
        if not counted and not trained and seen.state != "running" and sources_now:
            told_of(tab.count, sources_now, unblind, visitor)
        kept = [name for name in sources_now or [] if name in dict(map(reversed, listed))]  # type: ignore[arg-type]
        moved = now(kept, unblind, level, loss, None, True)
        return [
            "",
            gr.update(visible=True),
            gr.update(choices=listed, value=kept, info=tab.place),
            *moved,
            *heads_now(),
        ]

    def asked(sources: Any, unblind: Any, level: str, loss: str, visitor: gr.Request) -> list[Any]:
        if operators.refusal(visitor):
            return [gr.skip()] * 3
        sentence, may = offer(tab.seen(), tab, sources, unblind, level, loss)
        return [sentence, "", gr.update(interactive=may)]

    def levelled(sources: Any, unblind: Any, level: str, loss: str, visitor: gr.Request) -> list[Any]:
        if operators.refusal(visitor):
            return [gr.skip()] * 4
        listed = tab.starts(level) if level in LEVELS else [UNIFORM]
        return [*asked(sources, unblind, level, loss, visitor), gr.update(choices=listed, value=listed[0][1])]

    def look(name: Any, visitor: gr.Request) -> list[Any]:
        return [gr.skip()] * len(about) if operators.refusal(visitor) else heads_now(name)

    def compare(name: Any, visitor: gr.Request) -> list[Any]:
        try:
            tab.allow(visitor)
            return [tab.beside_parent(name), gr.Tabs(selected="compare"), gr.skip()]
        except PlaygroundError as error:
            return [gr.skip(), gr.skip(), error.page]

    def moved_by(call: Any) -> Any:
        def handler(name: Any, visitor: gr.Request) -> list[Any]:
            try:
                sentence = call(name, visitor)
            except PlaygroundError as error:
                return [*[gr.skip()] * 2, error.page, *[gr.skip()] * 3]
            listed = heads_now(name)
            return [*listed[:2], f"{listed[2]}\n\n{sentence}", *listed[3:]]

        return handler

    everything = [refused, ground, sources, *moving, *about]
    tab_item.select(entered, chosen, everything, **private)
    timer.tick(tick, [*chosen, state, head], [*moving, *about], **in_turn)
    count.click(begin_count, [sources, unblind], [denied, timer], **private)
    start.click(begin, [*chosen, begins, name, seed], [denied, timer], **private)
    stop.click(end, None, [denied, timer], **private)
    for control in (sources.input, unblind.input):
        control(begin_count, [sources, unblind], [denied, timer], **private)
    loss.input(asked, chosen, [said, denied, start], **in_turn)
    level.input(levelled, chosen, [said, denied, start, begins], **in_turn)
    head.input(look, head, about, **private)
    beside.click(compare, head, [lanes, tabs, head_said], **private)
    promote.click(moved_by(tab.promote), head, about, **private)
    withdraw.click(moved_by(tab.withdraw), head, about, **private)
