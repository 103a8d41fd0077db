"""A head together with what is only needed to train it: a token mask and the threshold of the preference degree."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.standardised import StandardisedHead
from playground.training import lpo
from playground.training.pairs import Pairs
from playground.training.pooling import target_losses
from playground.training.recipe import Recipe

HeadT = TypeVar("HeadT", bound=StandardisedHead)
MASK_PULL = 1e-3  # weight of the mean mask, so that tokens that say nothing go to 0


class Learner(nn.Module, Generic[HeadT]):
    """`decoder` is the head, from states [S, H] to log-probabilities [S, K]; `mask` and `degree` are left behind after training.

    mask     w, b of m(h) = relu(w · x + b), x the standardised state: a weight for every token (SparsePO; there LayerNorm(h)).
             It starts at m = 1. `token_weights="sparse"` alone uses it.
    degree   a, b of P(much) = σ(softplus(a) · βm − b). `degree` > 0 alone uses it.
    """

    decoder: HeadT

    def __init__(self, decoder: HeadT) -> None:
        super().__init__()
        self.decoder = decoder
        self.mask = nn.Linear(len(decoder.center), 1)
        nn.init.zeros_(self.mask.weight)
        nn.init.ones_(self.mask.bias)
        self.degree = nn.Parameter(torch.zeros(2))

    def losses(self, pairs: Pairs, recipe: Recipe) -> tuple[Tensor, Tensor]:
        """The preference losses [P], and what is to be minimised [P]: these with weights, pulls and degrees.

        Of a pair with a target both are the divergence from it.

        Both are means over pairs once `.mean()` is taken, with nothing shared between pairs: four batches of one pair
        accumulated are one batch of four.
        """
        logprobs = self.decoder(pairs.hidden)[pairs.states]  # [N, K]
        weight = pairs.weights.to(logprobs.dtype)
        sparse = recipe.token_weights == "sparse"
        if sparse:
            weight = weight * torch.relu(self.mask(self.decoder.standardised(pairs.hidden)))[pairs.states, 0]
        margin = self._margins(logprobs, pairs, recipe, weight)
        if recipe.loss == "nll":
            loss = -self._margins(logprobs, pairs, recipe, weight * (pairs.sign > 0))
        else:
            delta = (
                lpo.by_strength(lpo.STRENGTH_MARGINS, pairs.strengths).to(logprobs)
                if recipe.strength == "margin"
                else 0.0
            )
            loss = lpo.preference_losses(margin, recipe.beta, recipe.smoothing, delta)
        if recipe.strength == "weight":
            loss = loss * lpo.by_strength(lpo.STRENGTH_WEIGHTS, pairs.strengths).to(logprobs)
        whole = loss
        if recipe.pull:
            whole = whole + recipe.pull * _pair_means(lpo.row_pull(logprobs), pairs)
        if sparse:
            whole = whole + MASK_PULL * _pair_means(weight, pairs)
        if recipe.degree:
            slope, threshold = softplus(self.degree[0]), self.degree[1]
            degrees = lpo.degree_losses(margin, recipe.beta, slope, threshold, pairs.strengths)
            whole = whole + recipe.degree * degrees
        if pairs.target is not None:
            has, pooled = target_losses(logprobs, pairs)
            loss, whole = torch.where(has, pooled, loss), torch.where(has, pooled, whole)
        return loss, whole

    def margins(self, pairs: Pairs, recipe: Recipe) -> Tensor:
        """[P] in nats, with the given token weights but no learned mask: what the head itself prefers."""
        logprobs = self.decoder(pairs.hidden)[pairs.states]
        return self._margins(logprobs, pairs, recipe, pairs.weights.to(logprobs.dtype))

    def _margins(self, logprobs: Tensor, pairs: Pairs, recipe: Recipe, weight: Tensor) -> Tensor:
        if recipe.loss in lpo.LATENT:
            assert pairs.likelihood is not None, "the latent losses read likelihoods"
            scores = lpo.latent_scores(logprobs, pairs.likelihood.to(logprobs.dtype), recipe.reference)
        else:
            scores = lpo.step_scores(logprobs, pairs.index)
        if recipe.reference == "length":
            given = pairs.weights.to(logprobs.dtype)
            weight = (
                weight
                * lpo.length_weights(given, pairs.lengths.to(given), pairs.side, 2 * len(pairs))
                / given.clamp_min(1e-30)
            )
        margin = lpo.margins(scores * weight, pairs.pair, pairs.sign.to(scores.dtype), len(pairs))
        return margin if pairs.offset is None else margin + pairs.offset.to(margin.dtype)


def _pair_means(values: Tensor, pairs: Pairs) -> Tensor:
    """The mean over each pair's rows: [P] from [N]."""
    count = torch.bincount(pairs.pair, minlength=len(pairs)).to(values.dtype)
    return values.new_zeros(len(pairs)).index_add(0, pairs.pair, values) / count.clamp_min(1)
