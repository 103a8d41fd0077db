"""Fields for numbers that take whatever is typed: what is out of range is refused in a sentence that names the field.

Gradio's own answer to such a number is a passing toast without the field's name, and a traceback in the log.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from playground.errors import PlaygroundError

EXACT = 2**53 - 1  # the largest whole number that a browser keeps to the last digit


def as_typed(field: gr.Number) -> gr.Number:
    """The field itself, whose handlers get what was typed.

    No subclass: Gradio writes a .pyi file into the folder of each.
    """
    field.preprocess = _unjudged  # type: ignore[assignment]
    return field


def _unjudged(payload: Any) -> Any:
    return payload


def whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` as a whole number from `low` to `high`. Raises PlaygroundError in a sentence that names the field."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is None or number != number or not low <= number <= high or number != int(number):
        raise PlaygroundError(
            f"{name} must be a whole number from {low:,} to {high:,}, got {_in_words(value, number)}."
        )
    return int(number)


def _in_words(value: Any, number: float | None) -> str:
    if value in (None, ""):
        return "nothing"
    if number is None or number != number:
        return "no number"
    if abs(number) > EXACT:  # the browser has rounded it: its digits are not those that were typed
        return "a larger one" if number > 0 else "a negative one"
    return f"{number:,}".replace("-", "−")
