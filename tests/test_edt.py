"""EDT: the limits of its formula, on distributions whose entropy is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies import edt
from playground.decoding.policies.base import Head, Resources, Row, State
from playground.decoding.policies.spec import parse


def no_head(name: str) -> Head:
    raise AssertionError("the formula reads no head")


def temperature(logits: Tensor, t0: float, theta: float) -> float:
    rows = (Row(parse(f"edt:t0={t0},theta={theta}", [edt.KIND])),)
    policy = edt.EntropyDynamicTemperature(rows, Resources(no_head))
    return float(policy.decide(Distribution(logits[None]), torch.zeros(1, 1), State(rows)).temperature)


def with_entropy(h: float) -> Tensor:
    """Two logits [2] whose distribution has entropy h in (0, ln 2), or a flat one of e^h tokens."""
    if h > math.log(2):
        return torch.zeros(round(math.exp(h)), dtype=torch.float64)
    low, high = 0.0, 60.0
    for _ in range(100):
        middle = (low + high) / 2
        found = float(Distribution(torch.tensor([[middle, 0.0]], dtype=torch.float64)).entropy)
        low, high = (middle, high) if found > h else (low, middle)
    return torch.tensor([low, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("t0", [0.7, 1.0, 1.5])
def test_the_figures_of_the_formula(t0: float) -> None:
    assert temperature(with_entropy(0.1), t0, 1.0) == pytest.approx(0.8**10 * t0, rel=1e-9)
    assert temperature(with_entropy(0.1), t0, 1.0) == pytest.approx(0.107 * t0, rel=5e-3)
    # e tokens do not exist; ln 3 nats stands in for 1 nat through the formula's own exponent
    assert temperature(torch.zeros(3, dtype=torch.float64), t0, math.log(3)) == pytest.approx(0.8 * t0, rel=1e-9)


def test_high_entropy_approaches_t0_from_below() -> None:
    heats = [temperature(torch.zeros(n, dtype=torch.float64), 1.2, 1.0) for n in (2, 10, 1000, 10**6)]
    assert heats == sorted(heats)
    assert heats[-1] < 1.2
    assert heats[-1] == pytest.approx(1.2, rel=0.02)


@pytest.mark.parametrize("gap", [40.0, 700.0, 1e6])
def test_no_entropy_is_greedy(gap: float) -> None:
    assert temperature(torch.tensor([gap, 0.0], dtype=torch.float64), 1.0, 1.0) == 0.0


def test_theta_zero_switches_the_formula_off_even_without_entropy() -> None:
    assert temperature(torch.tensor([1e6, 0.0], dtype=torch.float64), 0.9, 0.0) == 0.9


def test_rows_are_decided_by_their_own_logits_and_knobs() -> None:
    rows = tuple(Row(parse(f"edt:t0={t0},theta={theta}", [edt.KIND])) for t0, theta in ((1.0, 1.0), (2.0, 0.5)))
    logits = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    both = edt.EntropyDynamicTemperature(rows, Resources(no_head)).decide(
        Distribution(logits), torch.zeros(2, 1), State(rows)
    )
    h = Distribution(logits).entropy.tolist()
    assert both.temperature.tolist() == pytest.approx([0.8 ** (1 / h[0]), 2 * 0.8 ** (0.5 / h[1])])
