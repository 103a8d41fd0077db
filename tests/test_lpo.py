"""The separate loss against hand computation, finite differences and its invariants."""

import math

import pytest
import torch

from playground.training.lpo import margins, pull_to_uniform, separate_loss, step_scores


def test_two_tokens_by_hand():
    # K = 2. Chosen drew index 0 twice at P = .8 and .6; rejected drew index 1 once at P = .3.
    logprobs = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]], dtype=torch.float64).log()
    scores = step_scores(logprobs, torch.tensor([0, 0, 1]))
    margin = margins(scores, torch.tensor([0, 0, 0]), torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64), 1)
    expected = math.log(0.8 * 2) + math.log(0.6 * 2) - math.log(0.3 * 2)
    assert float(margin) == pytest.approx(expected)
    assert float(separate_loss(margin, 0.1)) == pytest.approx(-math.log(1 / (1 + math.exp(-0.1 * expected))))


def test_the_gradient_equals_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    index, pair = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0, 0, 1, 0, 1])
    sign = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0], dtype=torch.float64)

    def loss(z):
        logprobs = torch.log_softmax(z, -1)
        return separate_loss(margins(step_scores(logprobs, index), pair, sign, 2), 0.7) + 0.3 * pull_to_uniform(
            logprobs
        )

    assert torch.autograd.gradcheck(loss, (logits,))


@pytest.mark.parametrize(("chosen", "rejected"), [(1, 1), (50, 1), (3, 100)])
def test_the_uniform_head_has_margin_zero_whatever_the_lengths(chosen, rejected):
    steps = chosen + rejected
    logprobs = torch.full((steps, 7), -math.log(7), dtype=torch.float64)
    sign = torch.tensor([1.0] * chosen + [-1.0] * rejected, dtype=torch.float64)
    margin = margins(
        step_scores(logprobs, torch.randint(0, 7, (steps,))), torch.zeros(steps, dtype=torch.long), sign, 1
    )
    assert float(margin) == pytest.approx(0, abs=1e-12)
    assert float(separate_loss(margin, 0.1)) == pytest.approx(math.log(2))


def test_one_state_with_equal_temperatures_on_both_sides_teaches_nothing():
    logits = torch.randn(1, 4, requires_grad=True)
    logprobs = torch.log_softmax(logits.expand(2, -1), -1)
    margin = margins(step_scores(logprobs, torch.tensor([2, 2])), torch.tensor([0, 0]), torch.tensor([1.0, -1.0]), 1)
    separate_loss(margin, 1.0).backward()
    assert torch.equal(logits.grad, torch.zeros(1, 4))


def test_the_pull_is_zero_at_uniform_and_positive_elsewhere():
    assert float(pull_to_uniform(torch.full((3, 5), -math.log(5)))) == pytest.approx(0, abs=1e-6)
    assert float(pull_to_uniform(torch.log_softmax(torch.randn(3, 5), -1))) > 0
