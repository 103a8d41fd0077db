"""The flip rate of votes, from the share of votes on the same two replies that agree."""

from __future__ import annotations

import pytest

from playground.errors import PlaygroundError
from playground.training.simulation.agreement import flip_rate


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5])
def test_the_formula_inverts_the_probability_of_agreement(rate: float) -> None:
    assert flip_rate((1 - rate) ** 2 + rate**2) == pytest.approx(rate, abs=1e-7)


def test_votes_that_agree_less_than_by_chance_are_half_flips() -> None:
    assert flip_rate(0.4) == 0.5


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(PlaygroundError, match="from 0 to 1"):
        flip_rate(1.2)
