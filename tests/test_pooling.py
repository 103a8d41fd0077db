"""Votes of one family count together, and the head learns from states which family's row is called for."""

import math
from dataclasses import replace

import pytest
import torch

from playground.errors import PlaygroundError
from playground.training import pooling
from playground.training.evaluation.linear import fit_linear
from playground.training.fit import fit
from playground.training.pairs import Pairs
from playground.training.recipe import Recipe
from playground.training.train import recipe_for
from tests.test_learner import learner

RECIPE = Recipe(beta=1.0, pull=0.02, pool="family", dropout=0.0, epochs=60, learning_rate=3e-3)


def votes(chosen, rejected, family, states=None, seed=0) -> Pairs:
    """One pair a vote, each with a state of its own that both sides read."""
    count = len(chosen)
    noise = torch.Generator().manual_seed(seed)
    hidden = torch.randn(count, 6, generator=noise) if states is None else states
    return Pairs(
        hidden,
        torch.tensor([index for both in zip(chosen, rejected, strict=True) for index in both]),
        torch.arange(count).repeat_interleave(2),
        torch.tensor([1.0, -1.0]).repeat(count),
        tuple(f"prompt {i}" for i in range(count)),
        state=torch.arange(count).repeat_interleave(2),
        family=tuple(family),
    )


def test_a_row_is_the_bradley_terry_fit_of_its_familys_votes():
    """Three wins in four of one temperature over another: without a pull, σ(r0 − r1) = 3/4."""
    pairs = votes([0, 0, 0, 1], [1, 1, 1, 0], ["a"] * 4)
    row = pooling.rows(pairs, 2, replace(RECIPE, pull=0.0))["a"]
    assert float(row[0] - row[1]) == pytest.approx(math.log(3), abs=1e-4)
    assert float(row.exp().sum()) == pytest.approx(1)
    pulled = pooling.rows(pairs, 2, replace(RECIPE, pull=0.1))["a"]
    assert 0 < float(pulled[0] - pulled[1]) < math.log(3) - 0.1


def test_smoothing_lends_a_temperature_the_votes_of_its_neighbours():
    """The one in the middle lost two votes by bad luck; with smoothing it stands half-way between its neighbours."""
    pairs = votes([0, 0, 0, 2, 0, 2], [2, 2, 2, 0, 1, 1], ["a"] * 6)
    bare, smooth = (
        pooling.rows(pairs, 3, replace(RECIPE, pull=1e-4, smooth=weight))["a"].exp() for weight in (0.0, 10.0)
    )
    assert float(smooth[1]) == pytest.approx(float((smooth[0] * smooth[2]).sqrt()), rel=1e-2)
    assert float(bare[1]) < 0.5 * float((bare[0] * bare[2]).sqrt())
    with pytest.raises(PlaygroundError, match="`smooth`"):
        Recipe(smooth=0.1)


def test_a_row_reads_no_other_familys_votes_and_those_without_a_family_have_none():
    pairs = votes([0, 0, 1, 1], [1, 1, 0, 0], ["a", "a", "b", None])
    rows = pooling.rows(pairs, 2, RECIPE)
    assert set(rows) == {"a", "b"}
    assert rows["a"][0] > rows["a"][1]
    assert rows["b"][1] > rows["b"][0]
    target = pooling.with_targets(pairs, rows).target
    assert target is not None
    assert torch.equal(target[0], rows["a"])
    assert torch.equal(target[2], rows["b"])
    assert target[3].isnan().all()


def test_the_loss_is_the_divergence_from_the_row_and_gradients_are_numbers_where_there_is_none():
    pairs = votes([0, 1, 1], [1, 0, 2], ["a", "b", None])
    pairs = replace(pairs, hidden=pairs.hidden[:, :5].double())
    targets = pooling.with_targets(pairs, {"a": torch.tensor([0.7, 0.2, 0.1]).double().log()})
    made = learner()
    loss, whole = made.losses(targets, RECIPE)
    logprobs = made.decoder(pairs.hidden).detach()
    expected = sum(p * (math.log(p) - float(q)) for p, q in zip((0.7, 0.2, 0.1), logprobs[0], strict=True))
    assert float(loss[0].detach()) == pytest.approx(expected)
    assert torch.equal(loss[1:], made.losses(pairs, RECIPE)[0][1:])
    whole.sum().backward()
    assert all(p.grad.isfinite().all() for p in made.decoder.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "of", [lambda pairs: fit(pairs, 2, RECIPE, quiet=True).decoder, lambda pairs: fit_linear(pairs, 2, RECIPE)]
)
def test_pooled_votes_find_two_kinds_where_single_votes_are_lost_in_noise(of):
    """Two kinds of states; a vote for its kind's temperature is right six times in ten."""
    noise = torch.Generator().manual_seed(1)
    kind = torch.arange(160) % 2
    states = torch.randn(160, 6, generator=noise) + 2.5 * (2.0 * kind[:, None] - 1) * torch.eye(6)[0]
    right = torch.rand(160, generator=noise) < 0.6
    chosen = torch.where(right, kind, 1 - kind).tolist()
    pairs = votes(chosen, [1 - c for c in chosen], ["ab"[k] for k in kind], states)
    head = of(pairs)
    fresh = torch.randn(400, 6, generator=noise)
    fresh[:, 0] += 2.5 * (2.0 * (torch.arange(400) % 2) - 1)
    with torch.no_grad():
        accuracy = (head(fresh).argmax(-1) == torch.arange(400) % 2).float().mean()
    assert float(accuracy) > 0.95


def test_what_is_reported_of_held_out_pairs_is_the_preference_loss():
    chosen = [0, 1] * 20
    pairs = votes(chosen, [1 - c for c in chosen], ["a"] * 40)
    found = fit(pairs, 2, RECIPE, quiet=True)
    assert found.held_out_loss == pytest.approx(math.log(2), abs=0.15)
    assert found.curve[-1][1] < 0.1  # the divergence of a head that says what the row says


@pytest.mark.parametrize("options", [{"loss": "latent-token"}, {"degree": 0.5}, {"token_weights": "sparse"}], ids=str)
def test_what_pooling_cannot_do_is_refused_and_never_silently_left_out(options):
    with pytest.raises(PlaygroundError, match="`pool` must be none"):
        Recipe(pool="family", **options)
    assert recipe_for("sequence", **options).pool == "none"
    assert recipe_for("sequence").pool == "family"
