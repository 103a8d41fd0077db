"""Fields for numbers: whatever is typed is taken, or refused in a sentence that names the field."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr
import pytest

from playground.errors import PlaygroundError
from playground.ui.fields import EXACT, as_typed, whole


@pytest.mark.parametrize("value", [0, 1.0, EXACT])
def test_a_whole_number_within_the_range_is_taken(value: Any) -> None:
    assert whole("Seed", value, 0, EXACT) == value
    assert isinstance(whole("Seed", value, 0, EXACT), int)


@pytest.mark.parametrize(
    "value", [-5, 1e20, 2**53, 1.5, math.nan, math.inf, -math.inf, None, "", "abc", "5", [1], True, {}]
)
def test_any_other_is_refused_by_the_fields_name_and_range(value: Any) -> None:
    with pytest.raises(PlaygroundError) as refused:
        whole("Seed", value, 0, EXACT)
    assert str(refused.value).startswith("Seed must be a whole number from 0 to 9,007,199,254,740,991, got ")
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("value", [-5, 1e20, 1.5, None, "abc"])
def test_the_fields_themselves_refuse_nothing(value: Any) -> None:
    assert as_typed(gr.Number(1, minimum=0, precision=0)).preprocess(value) == value
    assert as_typed(gr.Slider(8, 512, 128, step=8)).preprocess(value) == value
