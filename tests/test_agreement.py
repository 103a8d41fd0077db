"""The flip rate of votes, measured from votes on the same two replies."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.simulation.agreement import Agreement, flip_rate, of_preferences, repeated
from tests.samples import make_trace


def test_the_estimator_recovers_a_known_flip_rate() -> None:
    chance = random.Random(0)
    battles = [["b" if chance.random() < 0.15 else "a" for _ in range(2)] for _ in range(40_000)]
    assert repeated(battles).flip_rate == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5])
def test_the_formula_inverts_the_probability_of_agreement(rate: float) -> None:
    assert flip_rate((1 - rate) ** 2 + rate**2) == pytest.approx(rate, abs=1e-7)


def test_votes_that_agree_less_than_by_chance_are_half_flips() -> None:
    assert flip_rate(0.4) == 0.5


def test_all_pairs_of_decided_votes_count_and_ties_do_not() -> None:
    assert repeated([["a", "a", "b"], ["a", None], [None, None], ["b", "b", None]]) == Agreement(agreeing=2, pairs=4)


def test_preferences_meet_by_their_replies_whichever_was_called_a() -> None:
    one, two, three = (make_trace(seed) for seed in range(3))
    vote = Preference("v", "b", "human", True, "collect", "a", "a", 0.25, "P", None, (one,), (two,))
    swapped = replace(vote, a=(two,), b=(one,), outcome="b")
    votes = [vote, swapped, replace(vote, outcome="b"), replace(vote, outcome="tie"), replace(vote, b=(three,))]
    assert of_preferences(votes) == Agreement(agreeing=1, pairs=3)


def test_without_a_repeated_vote_the_remedy_is_named() -> None:
    with pytest.raises(PlaygroundError, match="collect repeated votes"):
        repeated([["a"], ["b", None]]).flip_rate  # noqa: B018
    with pytest.raises(PlaygroundError, match="from 0 to 1"):
        flip_rate(1.2)
