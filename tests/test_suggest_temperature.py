"""The turning point of curves whose turning point is known, and none where there is none."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from playground.analysis.suggest_temperature import TEMPERATURES, published_rule, suggest, turning_point
from playground.errors import PlaygroundError


def bending(turn: float, power: float = 1.0, slope: float = 0.4) -> list[float]:
    """ln H = power·ln T + slope·T + power·T² / (2·turn²): its second derivative power·(1/turn² − 1/T²) is 0 at `turn`."""
    return [power * math.log(t) + slope * t + power * t * t / (2 * turn**2) - 0.3 for t in TEMPERATURES]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("turn", [0.45, 0.75, 1.05, 1.25])
def test_a_curve_that_turns_at_a_known_place_is_answered_with_it(turn: float, power: float) -> None:
    found, fitted = turning_point(TEMPERATURES, bending(turn, power))
    assert found == pytest.approx((turn, turn, turn), abs=1e-6)
    assert fitted == pytest.approx(bending(turn, power), abs=1e-9)


def test_the_published_rule_takes_the_first_temperature_of_the_sweep_where_the_curve_is_convex() -> None:
    for turn in (0.45, 0.75, 1.05):
        steep = [20 * (t - turn) ** 3 for t in TEMPERATURES]
        assert published_rule(TEMPERATURES, steep) == min(t for t in TEMPERATURES if t > turn)


def test_the_published_rule_is_the_authors_derivatives_done_by_numpy() -> None:
    chance = random.Random(3)
    for spaced in (TEMPERATURES, (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 1.1, 1.4, 2.0)):
        for _ in range(50):
            logs = [chance.gauss(0, 0.3) + 2 * t for t in spaced]
            bend = np.gradient(np.gradient(logs, spaced), spaced)[1:-1]
            expected = spaced[1 + int(np.argmax(bend > 0))] if (bend > 0).any() else None
            assert published_rule(spaced, logs) == expected


def test_the_interval_holds_the_true_turning_point_as_often_as_it_says() -> None:
    chance = random.Random(7)
    held = found_at_all = 0
    for _ in range(400):
        found, _ = turning_point(TEMPERATURES, [y + chance.gauss(0, 0.03) for y in bending(0.8)])
        if found:
            found_at_all += 1
            held += found[1] <= 0.8 <= found[2]
    assert found_at_all > 390
    assert 0.86 <= held / found_at_all <= 0.94


@pytest.mark.parametrize(
    "curve",
    [
        [math.log(t) for t in TEMPERATURES],  # concave all the way
        [t * t for t in TEMPERATURES],  # convex all the way
        [2.0 * t for t in TEMPERATURES],  # straight
        [-y for y in bending(0.8)],  # from convex to concave
        bending(3.0),  # turns beyond the sweep
    ],
)
def test_a_curve_that_does_not_turn_gets_no_invented_temperature(curve: list[float]) -> None:
    chance = random.Random(5)
    found = suggest({t: [math.exp(y + chance.gauss(0, 0.02))] for t, y in zip(TEMPERATURES, curve, strict=True)})
    assert (found.turning, found.low, found.high) == (None, None, None)
    assert found.sentence.startswith("No clear turning point")
    assert "Use T" not in found.sentence
    assert found.to_record()["vote"] is found.to_record()["best_of_n"] is None


def test_noise_alone_is_no_turning_point() -> None:
    chance = random.Random(11)
    seen = [turning_point(TEMPERATURES, [chance.gauss(0, 1) for _ in TEMPERATURES])[0] for _ in range(200)]
    assert sum(found is not None for found in seen) < 20


def test_best_of_n_is_a_tenth_above_the_vote_and_the_sentence_names_both() -> None:
    found = suggest({t: [math.exp(y)] * 3 for t, y in zip(TEMPERATURES, bending(0.8), strict=True)})
    record = json.loads(json.dumps(found.to_record(), allow_nan=False))
    assert record["best_of_n"] - record["vote"] == pytest.approx(0.1)
    assert "Use T = 0.80 for a majority vote and 0.90 for best of N" in record["sentence"]
    assert record["replies"] == 3


def test_replies_are_averaged_before_the_logarithm() -> None:
    found = suggest({t: [0.5 * math.exp(t), 1.5 * math.exp(t)] for t in TEMPERATURES})
    assert found.entropies == pytest.approx([math.exp(t) for t in TEMPERATURES])


def test_temperatures_without_an_entropy_are_left_out_and_too_few_are_refused() -> None:
    replies = {t: [math.exp(y)] for t, y in zip(TEMPERATURES, bending(0.8), strict=True)}
    assert suggest(replies | {0.1: [0.0], 0.2: []}).temperatures == TEMPERATURES[2:]
    with pytest.raises(PlaygroundError, match="6 temperatures or more") as caught:
        suggest({t: [1.0] for t in TEMPERATURES[:5]})
    assert "\n" not in str(caught.value)
