"""What the page draws: counted tokens, cards and figures, and scales that can be read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from playground.decoding.trace import Request
from playground.ui.render import counted, figures, inspection, wire_token
from playground.ui.scales import INK, contrast, luminance, scales
from tests.scripted import END, header, step

REQUEST = Request("hello")


def test_the_end_token_is_not_drawn_but_an_empty_piece_inside_a_character_is() -> None:
    steps = [step(0, "a"), step(1, ""), step(2, "é"), step(3, "", token_id=END)]
    assert [s.position for s in counted(steps, {END})] == [0, 1, 2]
    assert len(counted(steps[:2], {END})) == 2


def test_numbers_cross_the_wire_as_they_are_recorded() -> None:
    one = replace(step(5, " x"), temperature=0.123456789, logprob=-math.inf)
    assert wire_token(one) == (" x", 0.123456789, one.entropy, None)


def test_the_card_pairs_the_grid_with_its_probabilities_and_adds_the_drawn_token() -> None:
    one = step(1, " upon")
    card = inspection(one, header(REQUEST, "adaptive-token"))
    assert [row[:2] for row in card["grid"]] == [(0.0, 0.2), (0.4, 0.2), (0.8, 0.2), (1.2, 0.4)]
    assert [chosen for *_, chosen in card["grid"]] == [False, False, False, True]
    assert card["alternatives"][-1] == (" upon", math.exp(one.logprob), math.exp(one.logprob_drawn), True)
    assert card["prob"] == pytest.approx(math.exp(one.logprob))


def test_a_policy_without_a_grid_has_none_on_its_card() -> None:
    assert inspection(step(0, "a", lane=1), header(REQUEST, "fixed", lane=1))["grid"] is None


def test_figures_are_those_of_the_counted_steps() -> None:
    steps = [step(i, ["", "a", "b", "c", "d"][1 + i % 4] + " ") for i in range(8)]
    shown = dict(figures(steps, 2.0, "length"))
    temperatures = [s.temperature for s in steps]
    assert shown["tokens"] == "8"
    assert shown["mean temperature"] == f"{sum(temperatures) / 8:.2f}"
    assert shown["range"] == "0.00 – 1.20"
    assert shown["repeated 4-grams"] == "20.0 %"  # abcd bcda cdab dabc abcd: one of five repeats
    assert shown["tokens per second"] == "4.0"
    assert dict(figures([], None, "cancelled"))["tokens"] == "0"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_colour_and_lightness_alone_orders_a_sequential_scale(theme: str) -> None:
    for scale in scales():
        stops = getattr(scale, theme)
        assert min(contrast(stop, INK[theme]) for stop in stops) >= 4.5  # type: ignore[index]
        values = [luminance(stop) for stop in stops]
        if scale.name != "temperature":
            assert values == sorted(values, reverse=theme == "light")
        assert scale.ticks[0] == scale.low
        assert scale.ticks[-1] == scale.high


def test_temperature_is_neutral_at_the_usual_fixed_choice() -> None:
    scale = next(scale for scale in scales() if scale.name == "temperature")
    assert (scale.low + scale.high) / 2 == pytest.approx(0.7)
    middle = scale.light[len(scale.light) // 2]
    channels = [int(middle[i : i + 2], 16) for i in (1, 3, 5)]
    assert max(channels) - min(channels) <= 8
