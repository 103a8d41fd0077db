"""Arms are drawn by the probabilities that are recorded."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from playground.decoding.policies.catalogue import catalogue
from playground.records import Mode
from playground.ui.arms import draw, pairs

LEARNED = ("adaptive-token", "adaptive-sequence")


@pytest.mark.parametrize("mode", ["collect", "evaluate"])
@pytest.mark.parametrize("learned", [(), LEARNED[:1], LEARNED])
def test_the_probabilities_of_a_mode_sum_to_one_and_every_arm_can_run(mode: Mode, learned: tuple[str, ...]) -> None:
    listed = pairs(mode, learned)
    assert sum(probability for _, probability in listed) == pytest.approx(1)
    known = catalogue({"adaptive-token": "t", "adaptive-sequence": "s"})
    assert all(known.parse(arm) for pair, _ in listed for arm in pair)


def test_collecting_samples_temperatures_and_lets_one_head_meet_itself() -> None:
    listed = [pair for pair, _ in pairs("collect", LEARNED)]
    assert all("select=sample" in arm for pair in listed for arm in pair)
    assert ("adaptive-sequence:select=sample",) * 2 in listed


def test_evaluating_uses_argmax_and_never_an_arm_against_itself() -> None:
    listed = [pair for pair, _ in pairs("evaluate", LEARNED)]
    assert all("sample" not in arm for pair in listed for arm in pair)
    assert all(first != second for first, second in listed)


def test_frequencies_match_the_recorded_propensity_and_sides_are_fair() -> None:
    chance = random.Random(11)
    draws = [draw(LEARNED, chance) for _ in range(4000)]
    collected = [d for d in draws if d.mode == "collect"]
    counts = Counter(d.arms for d in collected)
    for pair, probability in pairs("collect", LEARNED):
        assert abs(counts[pair] / len(collected) - probability) < 0.04
    assert all(d.propensity == dict(pairs(d.mode, LEARNED))[d.arms] for d in draws)
    assert abs(sum(d.left == "a" for d in draws) / len(draws) - 0.5) < 0.03
