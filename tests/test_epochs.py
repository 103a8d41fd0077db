"""One update: its gradient is the mean over the dropout masks that the recipe asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.adaptive_decoder import AdaptiveDecoder
from playground.training.epochs import _backward
from playground.training.fit import Recipe, fit
from playground.training.learner import Learner
from tests.test_train import planted

RECIPE = Recipe(beta=0.5, learning_rate=3e-3, dropout=0.5, epochs=2, patience=2, batch=16)


def gradients(learner: Learner[AdaptiveDecoder], samples: int) -> tuple[float, list[Tensor]]:
    """The loss and the gradients of one batch; the masks are drawn from where the global stream stands."""
    pairs = planted(pairs=16)
    learner.zero_grad()
    loss = _backward(learner, pairs, replace(RECIPE, samples=samples), len(pairs))
    return loss, [value.grad.clone() for value in learner.parameters() if value.grad is not None]


@pytest.fixture
def learner() -> Learner[AdaptiveDecoder]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        decoder = AdaptiveDecoder(6, 4, dropout=RECIPE.dropout)
        torch.nn.init.normal_(decoder.last.weight)  # a new one is 0 there, and so passes no gradient on
    return Learner(decoder).train()


def test_two_samples_are_the_mean_of_the_gradients_of_their_two_masks(learner: Learner[AdaptiveDecoder]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (first_loss, first), (second_loss, second) = gradients(learner, 1), gradients(learner, 1)
        torch.manual_seed(0)
        loss, both = gradients(learner, 2)
    assert loss == pytest.approx((first_loss + second_loss) / 2)
    assert len(both) >= 4
    for mean, one, other in zip(both, first, second, strict=True):
        torch.testing.assert_close(mean, (one + other) / 2)
    assert not all(torch.allclose(mean, one) for mean, one in zip(both, first, strict=True))


def test_a_fit_with_two_samples_is_another_one() -> None:
    one, two = (fit(planted(), 4, replace(RECIPE, samples=samples), quiet=True).decoder for samples in (1, 2))
    assert not torch.equal(one.last.weight, two.last.weight)
