"""Intervals by hand: Student's t over clusters, strata with equal weight, and their coverage on drawn data."""

import math
import random

import pytest

from playground.training.evaluation.statistics import above, difference, estimate, mean_of_strata, quantile


def test_one_stratum_is_the_plain_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    assert mean_of_strata([values]).half == pytest.approx(estimate(values).half)
    assert mean_of_strata([values]).mean == pytest.approx(3.75)


def test_rounding_takes_no_degree_of_freedom_away():
    draw = random.Random(0)
    for count in range(2, 13):
        for _ in range(50):
            values = [draw.random() for _ in range(count)]
            assert mean_of_strata([values]).half == pytest.approx(estimate(values).half)


def test_two_strata_by_hand():
    value = mean_of_strata([[0.0, 2.0, 4.0], [1.0, 1.0]])
    # s² = 4, n = 3 and s² = 0: v = 4 / (4 · 3) = 1/3, df = 2
    assert value.mean == pytest.approx(1.5)
    assert value.half == pytest.approx(4.303 * math.sqrt(1 / 3))
    even = mean_of_strata([[0.0, 2.0, 4.0], [3.0, 5.0, 7.0]])  # two equal variances: df = 2 + 2
    assert even.half == pytest.approx(2.776 * math.sqrt(2 / 3))
    assert even.count == 6


def test_a_stratum_of_one_cluster_has_no_interval_and_a_certain_one_no_width():
    assert mean_of_strata([[1.0, 2.0], [3.0]]).half == math.inf
    assert mean_of_strata([[1.0, 1.0], [3.0, 3.0]]).half == 0
    assert difference([1.5, 2.5, 9.5], [1.0, 2.0, 9.0]).half == pytest.approx(0)


def test_an_interval_lies_above_a_bound_only_where_there_is_one():
    equal, alone = mean_of_strata([[0.25, 0.25]]), mean_of_strata([[0.25, 0.25], [9.0]])
    assert (equal.half, equal.count) == (0, 2)
    assert above(vars(equal))
    assert not above(vars(equal), 0.25)
    assert not above(vars(alone))
    assert not above({**vars(alone), "half": None})


def test_quantiles_between_two_entries_are_the_wider_ones():
    assert quantile(11) == quantile(10) == 2.228
    assert quantile(1000) == 1.980
    assert quantile(0.5) == 12.706


def test_the_interval_covers_as_often_as_it_says():
    draw = random.Random(3)
    covered = 0
    for _ in range(2000):
        strata = [[draw.gauss(0.4, 0.2) for _ in range(8)], [draw.gauss(0.2, 0.05) for _ in range(5)]]
        value = mean_of_strata(strata)
        covered += abs(value.mean - 0.3) <= value.half
    assert 0.93 < covered / 2000 < 0.98
