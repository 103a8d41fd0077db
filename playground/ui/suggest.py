"""Suggest T: a sweep of temperatures over some prompts of a task, its entropy curve, and what to use."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from playground.analysis.suggest_temperature import Suggestion
from playground.decoding.trace import Request
from playground.errors import PlaygroundError
from playground.gallery import load_gallery
from playground.parts import Parts
from playground.suggest import Sweep, said
from playground.ui import faults
from playground.ui.decode import read_request
from playground.ui.figure import COLOURS, INK, Figure, blank
from playground.ui.places import Places
from playground.ui.wire import queue_sentence

LEAD = (
    "Decodes every prompt of a task at 14 temperatures from 0.1 to 1.4, four times each, and looks for the temperature at "
    "which log entropy turns from concave to convex: below it replies keep their thread, above it they lose it. For several "
    "samples of one prompt with a vote or a choice among them (TURN, Du et al. 2025, arXiv 2502.05234). One prompt shows it "
    "in half the cases only, eight mostly do; that takes a minute or more."
)
MOST_PROMPTS, SAMPLES, TOKENS = 16, 4, 48
FAMILY = "facts"  # of the gallery, whose prompts stand there to begin with
INTERVAL = 0.5
REDRAW = 4.0
VISITORS = 1000
Output = tuple[Any, Any, Any]


class Asked:
    """One visitor's latest sweep: whether it was stopped, and the temperature it found."""

    def __init__(self) -> None:
        self.stopped = False
        self.found: float | None = None


class SuggestT:
    """The handlers. A visitor's page has one sweep at a time; a new one ends the one before.

    Gradio's own `cancels` is not used: a sweep begun right after a cancelled one is cancelled with it. Nor is its State,
    for which every open tab would hold one of the few connections that a browser has for a server.
    """

    def __init__(self, parts: Parts, places: Places) -> None:
        self.parts, self.places = parts, places
        self._latest: OrderedDict[str, Asked] = OrderedDict()

    def stop(self, visitor: gr.Request) -> None:
        """End the visitor's sweep at its next step."""
        self._of(visitor).stopped = True

    def found(self, visitor: gr.Request) -> float | None:
        """The temperature that the visitor's latest sweep found."""
        return self._of(visitor).found

    def sweep(self, prompts: str, seed: Any, visitor: gr.Request) -> Iterator[Output]:
        """Stream a sweep over prompts, one a line: (sentence, curve, the temperature found or None). A refusal is the
        sentence.
        """
        asked = self._begin(visitor)
        try:
            requests = [read_request(line, "", "", "", "", seed, TOKENS) for line in lines_of(prompts)]
            with self.places.seat() as seat:
                for ahead in seat.wait(lambda: asked.stopped):
                    yield queue_sentence(ahead), gr.skip(), None
                yield from self._decode(requests, asked)
        except Exception as error:
            yield faults.sentence(error), gr.skip(), None

    def _decode(self, requests: Sequence[Request], asked: Asked) -> Iterator[Output]:
        sweep = Sweep(self.parts, requests, samples=SAMPLES)
        spoken = drawn = time.monotonic()
        with closing(sweep.run()) as steps:  # type: ignore[type-var]
            for progress in steps if not asked.stopped else ():
                now = time.monotonic()
                if asked.stopped:
                    break
                if now - drawn > REDRAW:
                    drawn = spoken = now
                    yield said(progress), curve_chart(progress.curve), None
                elif now - spoken > INTERVAL:
                    spoken = now
                    yield said(progress), gr.skip(), None
        if asked.stopped:
            yield "Stopped; nothing is suggested from half a sweep.", gr.skip(), None
            return
        found = sweep.suggestion()
        asked.found = found.turning
        yield found.sentence, suggestion_chart(found), found.turning

    def _begin(self, visitor: gr.Request) -> Asked:
        name = str(visitor.session_hash)
        self._of(visitor).stopped = True
        self._latest[name] = asked = Asked()
        while len(self._latest) > VISITORS:
            self._latest.popitem(last=False)
        return asked

    def _of(self, visitor: gr.Request) -> Asked:
        return self._latest.get(str(visitor.session_hash), Asked())


def lines_of(prompts: str | None) -> list[str]:
    """The prompts, one a line. Raises PlaygroundError where there are none or too many."""
    lines = [line.strip() for line in (prompts or "").splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_PROMPTS:
        raise PlaygroundError(f"Write 1 to {MOST_PROMPTS} prompts of one task, one a line; there are {len(lines)}.")
    return lines


def put(found: float | None, specs: Any) -> Any:
    """The lanes with the temperature found in the last fixed one, else in the last one."""
    if found is None or not isinstance(specs, list) or not all(isinstance(spec, str) for spec in specs):
        return gr.skip()
    fixed = [i for i, spec in enumerate(specs) if spec.partition(":")[0] == "fixed"]
    place = fixed[-1] if fixed else len(specs) - 1
    return [*specs[:place], f"fixed:temperature={found:.2f}", *specs[place + 1 :]]


def curve_chart(curve: Mapping[float, float]) -> Figure:
    """Mean entropy by temperature, on a logarithmic axis."""
    points = sorted((t, entropy) for t, entropy in curve.items() if entropy > 0)
    figure = blank(
        "", "temperature", "mean entropy, nats (log scale)", height=320, showlegend=True, hovermode="closest"
    )
    figure.add_scatter(
        x=[t for t, _ in points],
        y=[entropy for _, entropy in points],
        mode="lines+markers",
        name="mean over replies",
        line={"color": COLOURS[0], "width": 1.8},
    )
    figure.update_layout(margin={"t": 56}, yaxis={"type": "log", "dtick": "D2"})
    return figure


def suggestion_chart(found: Suggestion) -> Figure:
    """The curve with its least-squares fit, and where it turns with the 90 % interval."""
    figure = curve_chart(dict(zip(found.temperatures, found.entropies, strict=True)))
    figure.add_scatter(
        x=list(found.temperatures),
        y=list(found.fitted),
        mode="lines",
        name="least-squares curve",
        line={"color": INK, "dash": "dot", "width": 1.5},
    )
    if found.turning is not None and found.low is not None and found.high is not None:
        low, high = max(found.low, found.temperatures[0]), min(found.high, found.temperatures[-1])
        figure.add_vrect(x0=low, x1=high, fillcolor=COLOURS[1], opacity=0.13, line_width=0)
        figure.add_vline(x=found.turning, line={"color": COLOURS[1], "width": 1.8})
        figure.add_scatter(
            x=[None], y=[None], mode="lines", name="turning point, 90 % interval", line={"color": COLOURS[1]}
        )
    return figure


def build(parts: Parts, places: Places, seed: gr.Number, lanes: gr.HTML) -> None:
    """Lay out the fold under Compare's buttons and wire its events."""
    tab = SuggestT(parts, places)
    with gr.Accordion("Suggest a temperature for a task", open=False, elem_classes="pg-more", elem_id="suggest"):
        gr.Markdown(LEAD, elem_classes="pg-quietly")
        prompts = gr.Textbox(
            "\n".join(prompt.prompt for prompt in load_gallery() if prompt.family == FAMILY),
            label=f"Prompts of the task, one a line, at most {MOST_PROMPTS}",
            lines=4,
            max_lines=MOST_PROMPTS,
            elem_id="suggest-prompts",
        )
        with gr.Row(elem_classes="pg-actions", equal_height=True):
            start = gr.Button("Suggest T", elem_id="suggest-t", min_width=120)
            stop = gr.Button("Stop", elem_id="suggest-stop", min_width=80)
            use = gr.Button("Put it in a lane", elem_id="suggest-use", min_width=140, interactive=False)
        told = gr.Markdown("", elem_id="suggest-said", elem_classes="pg-said")
        chart = gr.Plot(show_label=False, container=False, elem_classes="pg-chart", visible=False)
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def run(prompts: str, seed: Any, visitor: gr.Request) -> Iterator[list[Any]]:
        for sentence, figure, value in tab.sweep(prompts, seed, visitor):
            shown = gr.update(value=figure, visible=True) if isinstance(figure, Figure) else gr.skip()
            yield [sentence, shown, gr.update(interactive=value is not None)]

    def put_found(specs: Any, visitor: gr.Request) -> Any:
        return put(tab.found(visitor), specs)

    start.click(run, [prompts, seed], [told, chart, use], **private, **places.event_options)
    stop.click(tab.stop, None, None, **private)
    use.click(put_found, lanes, lanes, **private)
