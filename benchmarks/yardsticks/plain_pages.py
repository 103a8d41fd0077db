"""How the same tokens are usually streamed with Gradio: each lane a component whose whole value is yielded every pass.

`Coloured` is a gr.HTML of one span a token in its colour; `Plain` is a gr.Textbox of the text, with neither colour nor
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

import gradio as gr

from playground.decoding.trace import Finished, Request, Started, TokenStep, Waiting
from playground.parts import Parts
from playground.ui.scales import scales


def coloured(step: TokenStep) -> str:
    """One token as a span with a background."""
    scale = scales()[0]
    share = min(max(step.temperature / scale.high, 0.0), 1.0)
    colour = scale.light[round(share * (len(scale.light) - 1))]
    return f'<span class="pg-token" style="background-color:{colour}">{escape(step.text)}</span>'


def plain(step: TokenStep) -> str:
    """One token as its text."""
    return step.text


def page(
    parts: Parts, specs: tuple[str, ...], make: Callable[..., gr.components.Component], one: Callable[[TokenStep], str]
) -> gr.Blocks:
    """A page with a button and a component a lane; `one` writes a token."""

    def generate(tokens: float) -> Iterator[list[str]]:
        values = [""] * len(specs)
        for event in parts.stream(Request("Tell me.", max_tokens=int(tokens)), specs):
            if isinstance(event, Waiting | Started | Finished):
                continue
            for lane_step in event:
                values[lane_step.lane] += one(lane_step.step)
            yield list(values)

    with gr.Blocks(analytics_enabled=False) as blocks:
        tokens = gr.Number(512, elem_id="length")
        button = gr.Button("Generate", elem_id="generate")
        with gr.Row():
            lanes = [make(elem_classes="lane") for _ in specs]
        button.click(generate, tokens, lanes, show_progress="hidden")
    return blocks
