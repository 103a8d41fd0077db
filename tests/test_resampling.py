"""Weights of particles: the two ends of the effective sample size, and resampling that is even and fair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.decoding.decoders.resampling import effective_sample_size, log_weight, one_of, systematic
from playground.decoding.sampling import random_stream, uniform


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 16])
def test_equal_weights_are_worth_all_particles_and_leave_each_in_its_place(count: int) -> None:
    for level in (0.0, -3.5, 700.0):
        weights = torch.full((count,), level, dtype=torch.float64)
        assert effective_sample_size(weights) == pytest.approx(count, rel=1e-12)
        for u in (1e-9, 0.3, 1 - 1e-9):
            assert systematic(weights, torch.tensor([u], dtype=torch.float64)) == list(range(count))


def test_one_particle_with_all_the_weight_is_worth_one_and_has_all_offspring() -> None:
    weights = torch.tensor([-900.0, 4.0, -900.0, -900.0], dtype=torch.float64)
    assert effective_sample_size(weights) == 1.0
    assert systematic(weights, uniform(random_stream(1))) == [1, 1, 1, 1]
    assert one_of(weights, uniform(random_stream(1))) == 1


def test_effective_sample_size_is_what_numpy_says() -> None:
    draws = np.random.default_rng(0).normal(0, 2, (50, 6))
    for row in draws:
        w = np.exp(row) / np.exp(row).sum()
        assert effective_sample_size(torch.from_numpy(row)) == pytest.approx(1 / (w**2).sum(), rel=1e-10)


def test_offspring_are_fair_on_average_and_never_more_than_one_off() -> None:
    shares = np.array([0.05, 0.45, 0.3, 0.2])
    weights, noise = torch.from_numpy(np.log(shares)), random_stream("offspring")
    totals = np.zeros(4)
    for _ in range(4000):
        counts = np.bincount(systematic(weights, uniform(noise)), minlength=4)
        assert np.all(np.abs(counts - 4 * shares) < 1)
        totals += counts
    assert totals / 4000 == pytest.approx(4 * shares, abs=0.04)


def test_one_of_is_drawn_by_weight() -> None:
    shares, noise = np.array([0.1, 0.6, 0.3]), random_stream("one")
    counts = np.bincount([one_of(torch.from_numpy(np.log(shares)), uniform(noise)) for _ in range(4000)])
    assert counts / 4000 == pytest.approx(shares, abs=0.03)


def test_the_weight_of_a_draw_from_the_model_itself_is_the_exponent_less_one() -> None:
    p = torch.tensor([-2.0, -0.1], dtype=torch.float64)
    assert log_weight(p, p, 0.5).tolist() == pytest.approx([-2.0, -0.1])
    assert log_weight(p, p, 1.0).tolist() == [0.0, 0.0]
