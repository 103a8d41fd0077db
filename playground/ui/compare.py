"""Compare: two to four policies side by side on one prompt, in colour, with charts, figures and a vote that is not blind."""

from __future__ import annotations

import random
import secrets
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from playground.errors import PlaygroundError
from playground.parts import Parts
from playground.records import Battle, Outcome
from playground.ui import faults, notice, suggest
from playground.ui.charts import MOST, charts
from playground.ui.components import STATIC, board, policies
from playground.ui.decode import LONGEST_REPLY, grow, read_request
from playground.ui.fields import as_typed
from playground.ui.kept import Kept
from playground.ui.lanes import read_lanes
from playground.ui.places import Places
from playground.ui.prompt_box import family_of, prompt_box
from playground.ui.runs import Run, Runs
from playground.ui.wire import Batcher, decoded, encoded, refusal, snapshot, waiting

EMPTY = (
    "Press Generate. Each token is painted with the temperature it was drawn at, from careful blue to free orange; "
    "point at a token to see its alternatives."
)
LANES = (
    "Each lane answers the same prompt with its own policy: the rule or the trained head that chooses the temperature."
)
WHOLE = ("end", "length", "stop_string")
SAVED = "Saved, marked as not blind."
VOTED = "You have voted on these two replies; choose another lane, or generate again."
CHOICES = (("first", "First is better"), ("second", "Second is better"), ("tie", "Tie"), ("both_bad", "Both bad"))
NO_VOTE = "A vote needs two replies that came to their own end; these did not."
STILL = 1.0  # seconds without news after which a message is repeated, so that a closed tab is noticed


class Compare:
    """The handlers of the tab; they hold no state but the parts, the runs and the places at the decoder.

    A visitor is known by the session of the page: it has one run here at a time.
    """

    def __init__(self, parts: Parts, runs: Runs, places: Places) -> None:
        self.parts, self.runs, self.places = parts, runs, places

    def generate(
        self, prompt: str, system: str, prefill: str, stops: str, source: str, seed: Any, length: Any, specs: Any,
        visitor: gr.Request,
    ) -> Iterator[str]:  # fmt: skip
        """Stream a run as messages, at most ten a second. It ends the visitor's run before it, as Stop does."""
        batcher: Batcher | None = None
        try:
            request = read_request(prompt, system, prefill, stops, source, seed, length)
            canonical = [str(spec) for spec in read_lanes(self.parts, specs)]
            run = self.runs.add(Run(request, len(canonical)), owner(visitor))
            batcher = Batcher(run, time.monotonic, lambda: self.places.interval)
            with self.places.seat() as seat:
                for ahead in seat.wait(lambda: run.stopped):
                    yield encoded(waiting(run, ahead))
                yield from self._stream(run, canonical, batcher)
        except Exception as error:
            begun = batcher.last() if batcher and batcher.run.heads else {}
            yield encoded(begun | refusal(faults.sentence(error)) | ({"run": begun["run"]} if begun else {}))

    def _stream(self, run: Run, specs: Sequence[str], batcher: Batcher) -> Iterator[str]:
        sent, spoken, begun = "", time.monotonic(), False
        for _ in grow(self.parts, run, specs) if not run.stopped else ():
            message = batcher.delta() if begun else snapshot(run) if run.heads else waiting(run, run.ahead or 0)
            begun = bool(run.heads)
            if message:
                sent = encoded(message)
            elif time.monotonic() < spoken + STILL:
                continue
            spoken = time.monotonic()
            yield sent
        yield encoded(batcher.last())

    def after(self, shown: Any, visitor: gr.Request) -> list[Any]:
        """The charts of the visitor's stopped run, first that of the overlay which `shown` names, and what they stand in.

        That is hidden where the board's message `shown` is a refusal: what it held is of an earlier run.
        """
        run, told = self.runs.latest(owner(visitor)), decoded(shown)
        if told.get("error") and not told.get("run"):
            return [*[gr.skip()] * MOST, gr.update(visible=False)]
        if run is None or not run.stopped or not run.heads:
            return [gr.skip()] * (MOST + 1)
        lanes = [run.steps(lane) for lane in range(run.lanes)]
        drawn: list[Any] = list(charts(lanes, run.heads, str(told.get("overlay", ""))))
        figures = [*drawn, *[None] * (MOST - len(drawn))]
        return [*[gr.update(value=figure, visible=figure is not None) for figure in figures], gr.update(visible=True)]

    def stop(self, shown: Any, visitor: gr.Request) -> None:
        """Freeze the visitor's run; its stream closes with what it has, within one step.

        `shown` is the message that the board had when Stop was pressed. Where it is of a run that went on, that one is
        meant and no other: a run begun at the same instant goes on. Otherwise one is meant that was not shown yet.
        """
        run, told = self.runs.latest(owner(visitor)), decoded(shown)
        if run is not None and (told.get("done", not told.get("run")) or told.get("run") == run.id):
            run.cancel()

    def lanes(self, first: Any, second: Any, visitor: gr.Request) -> list[Any]:
        """What the vote row offers after a run: itself, why it is not there, both pickers, what was said before (nothing), and
        its buttons.

        Only replies that came to their own end can be voted on.
        """
        run = self.runs.latest(owner(visitor))
        if run is None or not run.stopped:
            return [gr.skip()] * (5 + len(CHOICES))
        names = [f"Lane {number}" for number, trace in enumerate(run.traces, start=1) if trace.stop in WHOLE]
        offered = len(names) > 1
        left = first if first in names else next(iter(names), None)
        right = second if second in names and second != left else next((name for name in names if name != left), None)
        return [
            gr.update(visible=offered),
            "" if offered else NO_VOTE,
            gr.update(choices=names, value=left),
            gr.update(choices=names, value=right),
            *self.chosen(left, right, visitor),
        ]

    def chosen(self, first: Any, second: Any, visitor: gr.Request) -> list[Any]:
        """What is said of these two lanes of the visitor's run, and the buttons: shut where there is a vote on them."""
        run = self.runs.latest(owner(visitor))
        try:
            voted = run is not None and _pair(first, second, run) in run.voted
        except PlaygroundError:
            voted = False
        return [SAVED if voted else "", *[gr.update(interactive=not voted)] * len(CHOICES)]

    def vote(
        self, choice: str, first: str, second: str, voter: str | None, agrees: bool, shown: Any, visitor: gr.Request
    ) -> tuple[str, Any]:
        """Store a vote on two lanes of the visitor's finished run, which the message `shown` is of; (sentence, voter id)."""
        try:
            run = self.runs.latest(owner(visitor))
            if run is None or not run.traces or decoded(shown).get("run") != run.id:
                raise PlaygroundError("There is no finished run that the server still holds; generate again.")
            lanes = _pair(first, second, run)
            outcome = _outcome(choice, turned=lanes[0] != _lane(first, run))
            if run.voted.get(lanes, outcome) != outcome:
                raise PlaygroundError(VOTED)
            if voter is None and not agrees:
                raise PlaygroundError("Tick the notice first; nothing is stored before.")
            voter = voter or secrets.token_urlsafe(16)
            if agrees:
                self.parts.store.agree(voter, notice.VERSION)
            battle = _open_battle(run, lanes, voter)
            traces = run.traces[lanes[0]], run.traces[lanes[1]]
            self.parts.store.record_open_vote(battle, traces, outcome)
            run.voted[lanes] = outcome
            return SAVED, voter
        except Exception as error:
            return faults.sentence(error), gr.skip()


def owner(visitor: gr.Request) -> str:
    """The name of the visitor's run in this tab."""
    return f"compare/{visitor.session_hash}"


def _lane(name: str, run: Run) -> int:
    number = int(str(name).removeprefix("Lane ")) - 1 if str(name).removeprefix("Lane ").isdigit() else -1
    if not 0 <= number < len(run.traces):
        raise PlaygroundError("Choose two lanes of a finished run.")
    return number


def _pair(first: Any, second: Any, run: Run) -> tuple[int, int]:
    """Two lanes, the lower number first: a vote is on the replies, in whatever order they are named."""
    lower, higher = sorted((_lane(first, run), _lane(second, run)))
    if lower == higher:
        raise PlaygroundError("Choose two different lanes.")
    return lower, higher


def _outcome(choice: str, turned: bool) -> Outcome:
    first: Outcome = "b" if turned else "a"
    second: Outcome = "a" if turned else "b"
    outcomes: dict[str, Outcome] = {"first": first, "second": second, "tie": "tie", "both_bad": "both_bad"}
    return outcomes[choice]


def _open_battle(run: Run, lanes: tuple[int, int], voter: str) -> Battle:
    arms = run.traces[lanes[0]].policy, run.traces[lanes[1]].policy
    key = uuid.uuid5(uuid.NAMESPACE_OID, f"{run.id}/{lanes[0]}/{lanes[1]}/{voter}").hex
    family = family_of(run.request.prompt)
    now = datetime.now(UTC)
    return Battle(key, "evaluate", False, run.request, family, arms, "a", None, voter, notice.VERSION, now)


def build(parts: Parts, runs: Runs, places: Places, voter: gr.BrowserState, kept: Kept) -> gr.HTML:
    """Lay out the tab and wire its events; the policy picker."""
    tab = Compare(parts, runs, places)
    box = prompt_box("compare")
    with box.actions:
        generate = gr.Button("Generate", variant="primary", elem_id="generate", scale=2, min_width=120)
        stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
        again = gr.Button("Regenerate", elem_id="regenerate", scale=1, min_width=110)
        # no slider: Gradio's puts right what is typed without a word
        told = f"Length, 1 to {LONGEST_REPLY} tokens"
        length = as_typed(gr.Number(128, label=told, elem_id="length", scale=2, min_width=180))
        seed = as_typed(gr.Number(1, label="Seed", elem_id="seed", scale=1, min_width=110))
    learned = any(head.meta.kind == "adaptive-token" for head in parts.heads)
    gr.Markdown(LANES, elem_classes="pg-quietly")
    chosen = policies(parts, ["adaptive-token" if learned else "edt", "fixed:temperature=0.7"])
    kept.add("compare", [*box.kept, seed, length, chosen])
    suggest.build(parts, places, seed, chosen)
    shown = board(runs, "compare-board", EMPTY, stop="stop", charts="compare-after")
    with gr.Column(visible=False, elem_id="compare-after") as after:
        plot: dict[str, Any] = {"show_label": False, "container": False, "min_width": 320, "elem_classes": "pg-chart"}
        with gr.Row():
            plots = [gr.Plot(**plot) for _ in range(2)]
        plots.append(gr.Plot(**plot, visible=False))
        row = _vote_row(tab, shown, voter)
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    coloured_by = (STATIC / "coloured_by.js").read_text(encoding="utf-8")
    inputs = [*box.inputs, seed, length, chosen]
    renewed = again.click(lambda: random.SystemRandom().randrange(2**31), None, seed, **options)
    for pressed in (generate.click, renewed.then):
        # the board alone is an output: Gradio builds every other one anew for each message
        streaming = pressed(tab.generate, inputs, shown, **options, **places.event_options)
        streaming.then(tab.after, shown, [*plots, after], **options, trigger_mode="multiple", js=coloured_by)
        streaming.then(tab.lanes, row[2:4], row, **options, trigger_mode="multiple")
    shown.overlay(tab.after, shown, [*plots, after], **options, js=coloured_by)
    stop.click(tab.stop, shown, None, **options)
    return chosen


def _vote_row(tab: Compare, shown: gr.HTML, voter: gr.BrowserState) -> list[Any]:
    """Lay out the vote on two lanes of the run that `shown` is of; what `Compare.lanes` sets."""
    gr.Markdown("#### Which reply is better?")
    why_not = gr.Markdown("", elem_id="compare-no-vote", elem_classes="pg-said")
    with gr.Column() as offered:
        with gr.Row(elem_classes="pg-votes"):
            names = ["Lane 1", "Lane 2"]
            first = gr.Dropdown(names, value="Lane 1", label="First", min_width=90, elem_classes="pg-narrow")
            second = gr.Dropdown(names, value="Lane 2", label="Second", min_width=90, elem_classes="pg-narrow")
            buttons = [gr.Button(label, elem_id=f"compare-{choice}", min_width=90) for choice, label in CHOICES]
        agrees = gr.Checkbox(False, label=f"I agree: {notice.TEXT}", container=False, elem_id="compare-agree")
    said = gr.Markdown("", elem_id="compare-said", elem_classes="pg-said")
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on([first.input, second.input], tab.chosen, [first, second], [said, *buttons], **private)
    for (choice, _), button in zip(CHOICES, buttons, strict=True):

        def cast(
            first: str, second: str, voter: str | None, agrees: bool, shown: Any, visitor: gr.Request,
            choice: str = choice,
        ) -> list[Any]:  # fmt: skip
            told, known = tab.vote(choice, first, second, voter, agrees, shown, visitor)
            return [told, known, *tab.chosen(first, second, visitor)[1:]]

        button.click(cast, [first, second, voter, agrees, shown], [said, voter, *buttons], **private)
    return [offered, why_not, first, second, said, *buttons]
