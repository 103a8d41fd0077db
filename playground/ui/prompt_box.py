"""The prompt, its gallery and what hides under "More": shared by Compare and Arena."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from playground.gallery import GalleryPrompt, load_gallery
from playground.ui.components import STATIC, gallery


@dataclass(frozen=True)
class PromptBox:
    """The components of a prompt; `inputs` in the order that `Asked.read` takes them.

    `actions` is the row right under the prompt, for the buttons of the tab: what starts stands before what may be set.
    """

    prompt: gr.Textbox
    system: gr.Textbox
    prefill: gr.Textbox
    stops: gr.Textbox
    source: gr.Textbox
    picked: gr.HTML
    actions: gr.Row

    @property
    def inputs(self) -> list[gr.Textbox]:
        return [self.prompt, self.system, self.prefill, self.stops, self.source]

    @property
    def kept(self) -> list[Any]:
        """What of it survives a reload."""
        return [*self.inputs, self.picked]


def prompt_box(name: str) -> PromptBox:
    """Lay out the prompt box of the tab `name`."""
    prompts = load_gallery()
    first = next(p for p in prompts if p.family == "creative")
    prompt = gr.Textbox(
        first.prompt, label="Prompt", lines=3, max_lines=10, elem_id=f"{name}-prompt", placeholder="Ask for anything."
    )
    actions = gr.Row(elem_classes="pg-actions", equal_height=True)
    chips = gallery(prompts, f"{name}-gallery")
    with gr.Accordion("More: document, system prompt, stops", open=False, elem_classes="pg-more") as more:
        source = gr.Textbox(
            "",
            label="Document the reply should rely on",
            info="Put before the prompt in every lane; kl-guided also decodes without it and compares.",
            lines=2,
            max_lines=10,
            elem_id=f"{name}-source",
        )
        prefill = gr.Textbox("", label="Begin the reply with", elem_id=f"{name}-prefill")
        system = gr.Textbox("", label="System prompt", lines=2, elem_id=f"{name}-system")
        stops = gr.Textbox("", label="Stop strings, one a line", lines=1, max_lines=4, elem_id=f"{name}-stops")
    box = PromptBox(prompt, system, prefill, stops, source, chips, actions)
    _wire(box, more, prompts)
    return box


def _wire(box: PromptBox, more: gr.Accordion, prompts: Sequence[GalleryPrompt]) -> None:
    """What the browser does by itself (static/prompt.js): picks, a prompt of one's own after one, and the fold's label."""
    listed = [
        {"id": p.id, "title": p.title, "prompt": p.prompt, "prefill": p.prefill}
        | {"system": p.system or "", "source": p.source or ""}
        for p in prompts
    ]
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    set_by_a_pick = [box.prefill, box.system, box.source]
    given = [box.picked, box.prompt, *set_by_a_pick]
    box.picked.pick(None, given, given, js=_js("pick", listed), **options)
    box.picked.restore(None, given, given, js=_js("restore", listed), **options)
    box.prompt.change(None, given, [box.picked, *set_by_a_pick], js=_js("typed", listed), **options)
    folded = [box.source, box.system, box.prefill, box.stops]
    gr.on([field.change for field in folded], None, folded, more, js=_js("label", []), **options)


def _js(act: str, prompts: Sequence[dict[str, str]]) -> str:
    code = (STATIC / "prompt.js").read_text(encoding="utf-8").partition("*/")[2].strip()
    return f"(...values) => ({code})({json.dumps(act)}, {json.dumps(prompts)}, values)"


def family_of(prompt: str, prompts: tuple[GalleryPrompt, ...] | None = None) -> str | None:
    """The family of an unedited gallery prompt, else None."""
    listed = load_gallery() if prompts is None else prompts
    return next((p.family for p in listed if p.prompt == prompt.strip()), None)


def stop_strings(text: str) -> tuple[str, ...]:
    """One stop string a line; blank lines are dropped."""
    return tuple(line for line in (text or "").split("\n") if line.strip())
