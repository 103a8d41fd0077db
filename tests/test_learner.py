"""One step of training: a batch is the sum of its pairs, and every option does what it says."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from models.adaptive_decoder import AdaptiveDecoder
from playground.training.learner import Learner
from playground.training.lpo import LOSSES, MUCH, SLIGHT, UNSTATED
from playground.training.pairs import Pairs
from playground.training.recipe import Recipe

PLAIN = Recipe(beta=0.7, dropout=0.0)
STRENGTHS = torch.tensor([SLIGHT, MUCH, UNSTATED, MUCH])


def learner(seed: int = 0, hidden: int = 5, temperatures: int = 3, dropout: float = 0.0) -> Learner:
    """A head with random weights in float64."""
    torch.manual_seed(seed)
    made = Learner(AdaptiveDecoder(hidden, temperatures, width=8, dropout=dropout))
    torch.nn.init.normal_(made.decoder.last.weight)
    return made.double()


def four(hidden: int = 5, temperatures: int = 3) -> Pairs:
    """Four pairs of unequal lengths, with likelihoods, token weights, strengths and offsets."""
    noise = torch.Generator().manual_seed(3)
    lengths = [(2, 3), (4, 1), (1, 1), (3, 5)]
    pair = torch.cat([torch.full((c + r,), p) for p, (c, r) in enumerate(lengths)])
    sign = torch.cat([torch.tensor([1.0] * c + [-1.0] * r) for c, r in lengths])
    rows = len(pair)
    return Pairs(
        torch.randn(rows, hidden, dtype=torch.float64, generator=noise),
        torch.randint(0, temperatures, (rows,), generator=noise),
        pair,
        sign,
        tuple("abcd"),
        likelihood=torch.randn(rows, temperatures, dtype=torch.float64, generator=noise) - 2,
        weight=torch.rand(rows, generator=noise) + 0.5,
        strength=STRENGTHS,
        offset=torch.randn(4, generator=noise),
    )


OPTIONS = [
    *({"loss": loss} for loss in LOSSES),
    *({"loss": loss, "reference": "length"} for loss in LOSSES if loss != "joint"),
    *({"strength": "weight"}, {"strength": "margin"}, {"degree": 0.5}, {"smoothing": 0.2}, {"pull": 0.3}),
    *({"token_weights": "sparse"}, {"token_weights": "sparse", "loss": "latent-token", "pull": 0.1, "degree": 1.0}),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_batch_of_four_is_four_of_one_accumulated(options):
    recipe, pairs = replace(PLAIN, **options), four()
    together, apart = learner(), learner()
    together.losses(pairs, recipe)[1].mean().backward()
    for number in range(4):
        (apart.losses(pairs.subset([number]), recipe)[1].sum() / 4).backward()
    for (name, a), b in zip(together.named_parameters(), apart.parameters(), strict=True):
        if a.grad is None:
            assert b.grad is None, name
        else:
            torch.testing.assert_close(a.grad, b.grad, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_gradient_of_the_head_equals_finite_differences(options):
    recipe, pairs, made = replace(PLAIN, **options), four(), learner()

    def loss(weight):
        changed = dict(made.named_parameters())
        changed["decoder.last.weight"] = weight
        return torch.func.functional_call(made, changed, (pairs, recipe))

    made.forward = lambda pairs, recipe: made.losses(pairs, recipe)[1].mean()
    weight = made.decoder.last.weight.detach().clone().requires_grad_(True)
    assert torch.autograd.gradcheck(loss, (weight,))


def test_two_tokens_by_hand_through_the_whole_learner():
    made, pairs = learner(), four().subset([2])
    logprobs = made.decoder(pairs.hidden).detach()
    scores = [float(logprobs[n, pairs.index[n]]) + math.log(3) for n in (0, 1)]
    margin = scores[0] * float(pairs.weight[0]) - scores[1] * float(pairs.weight[1]) + float(pairs.offset[0])
    (loss,), _ = made.losses(pairs, PLAIN)
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(-0.7 * margin)), rel=1e-6)


def test_equation_9_is_equation_10_with_a_constant_margin():
    """The gradient of every pair is eq. 10's at the shifted margin: the same direction, another length."""
    recipe, one = replace(PLAIN, loss="joint"), four().subset([1])
    shifted, plain = learner(), learner()
    shifted.losses(one, recipe)[1].sum().backward()
    without = replace(one, offset=None)
    plain.losses(without, replace(PLAIN, loss="separate"))[1].sum().backward()
    margin = float(plain.margins(without, PLAIN).detach())
    ratio = _sigmoid(-0.7 * (margin + float(one.offset))) / _sigmoid(-0.7 * margin)
    torch.testing.assert_close(shifted.decoder.last.weight.grad, ratio * plain.decoder.last.weight.grad)


def test_a_vote_with_equal_temperatures_at_one_state_teaches_nothing():
    made = learner(dropout=0.5)
    hidden = torch.randn(1, 5, dtype=torch.float64)
    equal = Pairs(
        hidden,
        torch.tensor([1, 1]),
        torch.tensor([0, 0]),
        torch.tensor([1.0, -1.0]),
        ("a",),
        state=torch.tensor([0, 0]),
    )
    made.train()
    made.losses(equal, PLAIN)[1].sum().backward()
    assert all(not p.grad.any() for p in made.decoder.parameters())


def test_strength_weighs_or_shifts_and_unstated_votes_are_left_alone():
    made, pairs = learner(), four()
    plain = made.losses(pairs, PLAIN)[0]
    weighed = made.losses(pairs, replace(PLAIN, strength="weight"))[0]
    torch.testing.assert_close(weighed / plain, torch.tensor([0.5, 2.0, 1.0, 2.0], dtype=torch.float64))
    moved = made.losses(pairs, replace(PLAIN, strength="margin"))[0] - plain
    assert moved[0] == 0
    assert moved[2] == 0
    assert moved[1] > 0
    assert moved[3] > 0


def test_degrees_teach_the_head_that_much_is_a_larger_margin():
    made, pairs = learner(), four()
    slope = made.losses(pairs, replace(PLAIN, degree=1.0))[1] - made.losses(pairs, PLAIN)[1]
    assert slope[2] == 0
    assert (slope[[0, 1, 3]] > 0).all()
    flat = replace(pairs, strength=None)
    assert torch.equal(made.losses(flat, replace(PLAIN, degree=1.0))[1], made.losses(flat, PLAIN)[1])


def test_the_mask_starts_at_one_and_then_learns():
    made, pairs = learner(), four()
    sparse = replace(PLAIN, token_weights="sparse")
    torch.testing.assert_close(made.losses(pairs, sparse)[0], made.losses(pairs, PLAIN)[0])
    made.losses(pairs, sparse)[1].mean().backward()
    assert made.mask.weight.grad.any()
    assert made.mask.bias.grad.any()


def test_length_normalisation_takes_the_length_out():
    """A reply said twice is no better than once."""
    made, pairs = learner(), four().subset([0])
    chosen = torch.cat([torch.arange(5), torch.nonzero(pairs.sign > 0)[:, 0]])
    twice = Pairs(
        pairs.hidden[chosen],
        pairs.index[chosen],
        pairs.pair[chosen],
        pairs.sign[chosen],
        pairs.prompts,
        weight=pairs.weight[chosen],
    )
    once = replace(pairs, offset=None, likelihood=None, strength=None)
    length = replace(PLAIN, reference="length")
    torch.testing.assert_close(made.margins(twice, length), made.margins(once, length))
    assert abs(float((made.margins(twice, PLAIN) - made.margins(once, PLAIN)).detach())) > 1e-3


def test_the_baseline_ignores_what_was_rejected():
    made, pairs = learner(), four()
    other = copy.copy(pairs)
    index = pairs.index.clone()
    index[pairs.sign < 0] = (index[pairs.sign < 0] + 1) % 3
    other = replace(pairs, index=index, offset=None)
    nll = replace(PLAIN, loss="nll")
    assert torch.equal(made.losses(other, nll)[0], made.losses(replace(pairs, offset=None), nll)[0])


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
