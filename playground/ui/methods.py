"""Methods: every policy with its formula, source and departures, and the cards of the loaded checkpoints."""

from __future__ import annotations

from typing import Any

import gradio as gr

from playground.decoding.policies.spec import FILTER_KEYS
from playground.decoding.sampling import FILTER_ORDER
from playground.glossary import WORDS
from playground.methods import described, described_keys, grouped
from playground.parts import Parts
from playground.ui.components import component, missing
from playground.ui.faults import without_places

LEAD = (
    "h are the raw logits of the next token, V is the size of the vocabulary, H is the entropy of softmax(h) in nats and "
    "T the temperature that divides h; T = 0 is greedy.",
    f"A policy's own steps come first; then the filters that are set, in the order {' → '.join(FILTER_ORDER)}. "
    "Each trace records the order it used.",
)


def build(parts: Parts, tab: gr.Tab) -> None:
    """Lay out the tab; heads that were trained since the start come last, whenever it is opened."""
    known = {head.id for head in parts.heads}
    groups = [
        {"name": group, "kinds": [described(kind) | {"missing": missing(parts, kind)} for kind in kinds]}
        for group, kinds in grouped(parts.catalogue.kinds)
    ]
    told = {"groups": groups, "filters": described_keys(FILTER_KEYS), "lead": list(LEAD), "words": list(WORDS.items())}
    component("methods", None, before=("words",), **told)
    gr.HTML("<h3>Checkpoints</h3>", elem_classes="pg-cards")
    for head in parts.heads:
        with gr.Accordion(head.name, open=False, elem_classes="pg-more pg-checkpoint"):
            gr.Markdown(without_places(head.card) or "This checkpoint came without a card.")
    with gr.Accordion(
        "Trained since the start", open=False, visible=False, elem_classes="pg-more pg-checkpoint"
    ) as late:
        cards = gr.Markdown("")
    if not parts.heads:
        gr.Markdown("No trained checkpoint fits the loaded model.")
    for sentence in parts.refused_heads:
        gr.Markdown(f"Not usable here: {without_places(sentence)}", elem_classes="pg-refused")

    def opened() -> list[Any]:
        new = [head for head in parts.heads if head.id not in known]
        return [
            gr.update(visible=bool(new)),
            "\n\n---\n\n".join(without_places(head.card) or head.name for head in new),
        ]

    tab.select(opened, None, [late, cards], api_visibility="private", show_progress="hidden")
