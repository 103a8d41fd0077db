"""What each kind of field may send, judged before Gradio does: one sentence that names the field and repeats no value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

LONGEST_CHOICE = 300  # characters; a head and a file are chosen by name
MOST_CHOSEN = 200
CHOICES = (gr.Dropdown, gr.Radio)
VOTER = "The voter's id must be text that this page made; clear this site's data in the browser and agree again."


def misfit(field: Any, value: Any) -> str | None:
    """Why `value` is none that this field of the page can send, whatever is in it, or None."""
    if isinstance(field, gr.BrowserState):
        return None if value is None or _short(value) else VOTER
    if isinstance(field, gr.CheckboxGroup):
        fits = isinstance(value, list) and len(value) <= MOST_CHOSEN and all(map(_short, value))
        return None if fits else f"{name_of(field)} must be a list of what is offered."
    if isinstance(field, CHOICES):
        return None if value is None or _short(value) else _not_offered(field)
    if isinstance(field, gr.Checkbox):
        return None if value is None or isinstance(value, bool) else f"{name_of(field)} must be ticked or not."
    if isinstance(field, gr.Number | gr.Slider):
        fits = value is None or isinstance(value, int | float) or _short(value)
        return None if fits else f"{name_of(field)} must be a number."
    if isinstance(field, gr.Textbox):
        return None if value is None or isinstance(value, str) else f"{name_of(field)} must be text."
    return None


def unoffered(fields: Sequence[Any], values: Sequence[Any], state: Any) -> tuple[Any, str] | None:
    """The first field whose value is not among its choices as this session sees them, and the sentence to show."""
    for field, value in zip(fields, values, strict=False):
        if not isinstance(field, gr.CheckboxGroup | gr.Dropdown | gr.Radio):
            continue
        seen = state[field._id] if state is not None and field._id in state else field
        offered = [choice for _, choice in seen.choices or ()]
        chosen = value if isinstance(value, list) else [] if value is None else [value]
        if any(one not in offered for one in chosen):
            return field, _not_offered(field)
    return None


def name_of(field: Any) -> str:
    """The field as the page names it: a long label by its beginning."""
    label = str(getattr(field, "label", None) or "A field")
    return f"“{label.partition(':')[0].partition(',')[0]}”"


def _short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_CHOICE


def _not_offered(field: Any) -> str:
    return f"{name_of(field)} must be one of what is offered; choose again, or reload the page."
