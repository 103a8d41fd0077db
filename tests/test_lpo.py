"""The losses against hand computation, finite differences and their invariants."""

import math

import pytest
import torch

from playground.training.lpo import (
    MUCH,
    SLIGHT,
    UNSTATED,
    degree_losses,
    latent_scores,
    length_weights,
    margins,
    preference_losses,
    pull_to_uniform,
    separate_loss,
    sequence_likelihoods,
    step_scores,
    token_likelihoods,
)


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


def test_two_tokens_of_the_latent_marginals_by_hand():
    # K = 2, one state with P = (.25, .75); two tokens with P(y | τ) = (.8, .5) and (.1, .4).
    logprobs = torch.tensor([[0.25, 0.75], [0.25, 0.75]], dtype=torch.float64).log()
    likelihood = torch.tensor([[0.8, 0.5], [0.1, 0.4]], dtype=torch.float64).log()
    per_token = latent_scores(logprobs, likelihood, "length").sum()
    assert float(per_token) == pytest.approx(math.log(0.25 * 0.8 + 0.75 * 0.5) + math.log(0.25 * 0.1 + 0.75 * 0.4))
    whole = sequence_likelihoods(likelihood, torch.tensor([0, 0]), 1)
    exact = latent_scores(logprobs[:1], whole, "length")
    assert float(exact) == pytest.approx(math.log(0.25 * 0.8 * 0.1 + 0.75 * 0.5 * 0.4))
    assert abs(float(exact - per_token)) > 0.09  # two marginals, not one
    reference = math.log(0.5 * 0.8 + 0.5 * 0.5) + math.log(0.5 * 0.1 + 0.5 * 0.4)
    assert float(latent_scores(logprobs, likelihood).sum()) == pytest.approx(float(per_token) - reference)


def test_the_marginals_agree_for_a_single_token():
    logprobs = torch.log_softmax(torch.randn(3, 4, dtype=torch.float64), -1)
    likelihood = torch.randn(3, 4, dtype=torch.float64) - 3
    whole = sequence_likelihoods(likelihood, torch.arange(3), 3)
    assert torch.equal(latent_scores(logprobs, whole), latent_scores(logprobs, likelihood))


def test_at_temperature_zero_the_marginal_and_its_gradient_stay_finite():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    likelihood = token_likelihoods(logits, torch.tensor([0, 2]), (0.0, 0.5))
    assert likelihood[0, 0] == 0
    assert likelihood[1, 0] == -math.inf
    free = torch.zeros(2, 2, requires_grad=True)
    score = latent_scores(torch.log_softmax(free, -1), likelihood)
    score.sum().backward()
    assert torch.isfinite(score).all()
    assert torch.isfinite(free.grad).all()
    assert free.grad[1, 1] > 0 > free.grad[1, 0]  # what greedy decoding cannot say moves P away from τ = 0
    whole = sequence_likelihoods(likelihood, torch.tensor([0, 0]), 1)
    assert whole[0, 0] == -math.inf
    assert math.isfinite(whole[0, 1])


def test_likelihoods_are_the_softmax_of_the_heated_logits():
    logits = 5 * torch.randn(150, 40, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(0, 40, (150,), generator=torch.Generator().manual_seed(1))
    likelihood = token_likelihoods(logits, ids, (0.2, 1.0, 1.2))
    for k, tau in enumerate((0.2, 1.0, 1.2)):
        expected = torch.log_softmax(logits.double() / tau, -1).gather(-1, ids[:, None])[:, 0]
        torch.testing.assert_close(likelihood[:, k].double(), expected, atol=2e-5, rtol=1e-5)


def test_a_token_of_weight_zero_is_absent_even_where_it_is_impossible():
    likelihood = torch.tensor([[-1.0, -2.0], [-math.inf, -3.0]])
    kept = sequence_likelihoods(likelihood, torch.tensor([0, 0]), 1, torch.tensor([1.0, 0.0]))
    assert kept.tolist() == [[-1.0, -2.0]]


def test_smoothing_is_the_mixture_of_a_vote_and_its_reverse():
    margin = torch.tensor([0.7, -2.0], dtype=torch.float64)
    plain, reverse = preference_losses(margin, 0.5), preference_losses(-margin, 0.5)
    torch.testing.assert_close(preference_losses(margin, 0.5, 0.1), 0.9 * plain + 0.1 * reverse)
    at = torch.tensor([math.log(0.9 / 0.1) / 0.5], dtype=torch.float64, requires_grad=True)
    preference_losses(at, 0.5, 0.1).sum().backward()
    assert float(at.grad) == pytest.approx(0, abs=1e-12)  # lowest at log((1 − ε)/ε), not at infinity


def test_a_margin_asks_for_more():
    assert float(preference_losses(torch.tensor([2.0]), 1.0, 0.0, 1.5)) == pytest.approx(math.log1p(math.exp(-0.5)))


def test_the_degree_loss_by_hand_and_nothing_where_unstated():
    margin = torch.tensor([2.0, 2.0, 2.0], dtype=torch.float64)
    loss = degree_losses(margin, 0.5, torch.tensor(1.0), torch.tensor(0.25), torch.tensor([MUCH, SLIGHT, UNSTATED]))
    much = 1 / (1 + math.exp(-0.75))
    torch.testing.assert_close(loss, torch.tensor([-math.log(much), -math.log(1 - much), 0.0], dtype=torch.float64))


def test_length_weights_make_means_whatever_the_lengths():
    side = torch.tensor([0, 0, 0, 1])
    weight = length_weights(torch.ones(4), torch.tensor([1.0, 1.0, 1.0, 5.0]), side, 2)
    torch.testing.assert_close(weight, torch.tensor([1 / 3, 1 / 3, 1 / 3, 1 / 5]))


@pytest.mark.parametrize("reference", ["uniform", "length"])
def test_the_latent_gradient_equals_finite_differences(reference):
    likelihood = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 2
    likelihood[1, 0] = -math.inf
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)

    def loss(z):
        scores = latent_scores(torch.log_softmax(z, -1), likelihood, reference)
        return preference_losses(margins(scores, torch.tensor([0, 1, 0, 1]), sign, 2), 0.7, 0.1, 0.3).mean()

    assert torch.autograd.gradcheck(loss, (torch.randn(4, 3, dtype=torch.float64, requires_grad=True),))
