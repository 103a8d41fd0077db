"""Arms are drawn by the probabilities that are recorded."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from playground.decoding.policies.catalogue import catalogue
from playground.records import Mode
from playground.ui.arms import ADAPTIVE, draw, pairs
from playground.ui.arms import LEARNED as EVERY

LEARNED = ADAPTIVE
KNOWN = catalogue(dict.fromkeys(EVERY, "a-head"))


@pytest.mark.parametrize("mode", ["collect", "evaluate"])
@pytest.mark.parametrize("learned", [(), LEARNED[:1], LEARNED, EVERY, EVERY[2:]])
def test_the_probabilities_of_a_mode_sum_to_one_and_every_arm_can_run(mode: Mode, learned: tuple[str, ...]) -> None:
    listed = pairs(mode, learned)
    assert sum(probability for _, probability in listed) == pytest.approx(1)
    assert all(KNOWN.parse(arm) for pair, _ in listed for arm in pair)


def test_what_meets_blind_streams_at_the_pace_of_fixed_and_needs_no_document() -> None:
    for pair, _ in (*pairs("evaluate", EVERY), *pairs("collect", EVERY)):
        for kind in (KNOWN.parse(arm).kind for arm in pair):
            assert kind.streams
            assert kind.decoder is None
            assert not getattr(kind.build, "needs_source", False)


def test_a_head_without_a_grid_collects_no_sampled_temperatures() -> None:
    assert {arm for pair, _ in pairs("collect", EVERY) for arm in pair} == {f"{n}:select=sample" for n in ADAPTIVE}


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
