"""The prompt, its gallery and what hides under "More": shared by Compare and Arena."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from playground.gallery import GalleryPrompt, load_gallery
from playground.ui.components import gallery


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
    actions: gr.Row

    @property
    def inputs(self) -> list[gr.Textbox]:
        return [self.prompt, self.system, self.prefill, self.stops, self.source]


def prompt_box(name: str) -> PromptBox:
    """Lay out the prompt box of the tab `name`."""
    prompts = load_gallery()
    first = next(p for p in prompts if p.family == "creative")
    prompt = gr.Textbox(
        first.prompt, label="Prompt", lines=3, max_lines=10, elem_id=f"{name}-prompt", placeholder="Ask for anything."
    )
    actions = gr.Row(elem_classes="pg-actions", equal_height=True)
    chips = gallery(prompts, f"{name}-gallery")
    with gr.Accordion("More: document, system prompt, stops", open=False, elem_classes="pg-more"):
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
    by_id = {p.id: p for p in prompts}

    def pick(event: gr.EventData) -> tuple[Any, ...]:
        chosen = by_id.get(str(event._data.get("id")))
        if chosen is None:
            return (gr.skip(),) * 4
        return chosen.prompt, chosen.prefill, chosen.system or "", chosen.source or ""

    chips.pick(pick, None, [prompt, prefill, system, source], api_visibility="private", show_progress="hidden")
    return PromptBox(prompt, system, prefill, stops, source, actions)


def family_of(prompt: str, prompts: tuple[GalleryPrompt, ...] | None = None) -> str | None:
    """The family of an unedited gallery prompt, else None."""
    listed = load_gallery() if prompts is None else prompts
    return next((p.family for p in listed if p.prompt == prompt.strip()), None)


def stop_strings(text: str) -> tuple[str, ...]:
    """One stop string a line; blank lines are dropped."""
    return tuple(line for line in (text or "").split("\n") if line.strip())
