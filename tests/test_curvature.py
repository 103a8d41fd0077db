"""The penalty for zigzag over the grid: its value by hand, what it leaves alone, its gradient."""

from __future__ import annotations

import torch

from playground.training.curvature import curvature


def test_the_value_by_hand() -> None:
    assert curvature(torch.tensor([[0.0, 1.0, 0.0, 0.0]])).tolist() == [(4 + 1) / 2]


def test_straight_lines_cost_nothing_and_constants_do_not_enter() -> None:
    line = torch.linspace(-3, 3, 7)
    assert float(curvature(line)) < 1e-10
    scores = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(curvature(scores), curvature(scores.log_softmax(-1)))


def test_two_temperatures_have_no_curvature() -> None:
    assert curvature(torch.tensor([[0.0, -5.0]])).tolist() == [0.0]


def test_the_gradient_agrees_with_finite_differences() -> None:
    scores = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: curvature(z.log_softmax(-1)), scores)
