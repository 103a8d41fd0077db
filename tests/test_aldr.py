"""ALDR: a straight line in entropy between what no uncertainty and what a uniform distribution get."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies import aldr
from playground.decoding.policies.base import Head, Resources, Row, State
from playground.decoding.policies.spec import parse


def no_head(name: str) -> Head:
    raise AssertionError("the formula reads no head")


def temperatures(logits: Tensor, *specs: str) -> list[float]:
    rows = tuple(Row(parse(spec, [aldr.KIND])) for spec in specs)
    policy = aldr.ClosedForm(rows, Resources(no_head))
    listed: list[float] = policy.decide(
        Distribution(logits), torch.zeros(len(rows), 1), State(rows)
    ).temperature.tolist()
    return listed


@pytest.mark.parametrize(("l0", "a"), [(1.0, 2.0), (1.5, 1.0), (0.7, 5.0)])
def test_one_step_of_the_papers_alternation_on_the_embedded_models_logits(
    captured_logits: np.ndarray, l0: float, a: float
) -> None:
    """λ0 − KL(p ‖ uniform) / α with α = a · ln V / λ0, the divergence summed as it is defined."""
    vocabulary = captured_logits.shape[1]
    expected = []
    for h in captured_logits:
        p = np.exp(h - h.max()) / np.exp(h - h.max()).sum()
        divergence = float((p[p > 0] * np.log(p[p > 0] * vocabulary)).sum())
        expected.append(l0 - divergence / (a * math.log(vocabulary) / l0))
    found = temperatures(torch.tensor(captured_logits), *[f"aldr:l0={l0},a={a}"] * len(captured_logits))
    assert found == pytest.approx(expected, abs=1e-9)
    assert max(found) - min(found) > 0.05 * l0 / a


@pytest.mark.parametrize("vocabulary", [2, 257, 49_152])
@pytest.mark.parametrize("a", [1.0, 2.0, 10.0])
def test_uniform_gives_l0_and_certainty_the_least(vocabulary: int, a: float) -> None:
    uniform = torch.zeros(1, vocabulary, dtype=torch.float64)
    certain = torch.full((1, vocabulary), -math.inf, dtype=torch.float64)
    certain[0, 0] = 0.0
    assert temperatures(uniform, f"aldr:l0=1.3,a={a}") == pytest.approx([1.3], rel=1e-12)
    assert temperatures(certain, f"aldr:l0=1.3,a={a}") == pytest.approx([1.3 * (1 - 1 / a)], abs=1e-12)


def test_a_flatter_distribution_is_never_colder() -> None:
    logits = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    steeper = torch.stack([logits * sharpness for sharpness in np.linspace(0, 30, 40)])
    heats = temperatures(steeper, *["aldr:a=1"] * 40)
    assert heats == sorted(heats, reverse=True)
    assert heats[0] == pytest.approx(1.0)
    assert 0 <= heats[-1] < 0.1


def test_rows_follow_their_own_knobs() -> None:
    logits = torch.randn(2, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = temperatures(logits, "aldr:l0=2", "aldr:a=4")
    assert both == [*temperatures(logits[:1], "aldr:l0=2"), *temperatures(logits[1:], "aldr:a=4")]
