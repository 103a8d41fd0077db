"""Pooling by family: what the votes of one kind of prompt say together, as the target of the head.

    r_g = argmin_r  mean over pairs of family g of −log σ(β [r(τc) − r(τr)])                                    equation 10
                    + λ KL(uniform ‖ softmax r) + `smooth` · C(softmax r)                                       C: curvature.py
    L(h) = KL(softmax r_g ‖ P(· | h))                                       g the family of the prompt whose state is h

Equation 10 on single prompts asks the head to explain each prompt's own lucky draws; with a few hundred prompts it learns
them by heart. If P(τ | h) is held constant within a family, a row of K numbers is all there is to learn, and votes on all its
prompts count together (`tabular` in simulation/recovery.py is such a row). The head then learns which row a state calls for.

The paper has no such step, and it takes what the paper does not need: somebody has sorted the prompts of the labels into
families. Nobody sorts the prompts on which the head decodes. A pair without a family teaches by equation 10 as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from playground.training.curvature import curvature
from playground.training.lpo import (
    STRENGTH_MARGINS,
    STRENGTH_WEIGHTS,
    by_strength,
    margins,
    preference_losses,
    pull_to_uniform,
    step_scores,
)
from playground.training.pairs import Pairs
from playground.training.recipe import Recipe

Rows = Mapping[str, Tensor]  # family → log-probabilities [K]


def rows(pairs: Pairs, temperatures: int, recipe: Recipe) -> Rows:
    """log softmax r_g [K] of every family of `pairs`; float64, the same on every call."""
    members: dict[str, list[int]] = {}
    for number, family in enumerate(pairs.families):
        if family is not None:
            members.setdefault(family, []).append(number)
    return {family: _row(pairs.subset(numbers), temperatures, recipe) for family, numbers in members.items()}


def taught(training: Pairs, held: Pairs, temperatures: int, recipe: Recipe) -> tuple[Pairs, Pairs]:
    """Both with the rows of the training pairs as targets where the recipe pools; unchanged where it does not."""
    known = rows(training, temperatures, recipe) if recipe.pool == "family" else {}
    return with_targets(training, known), with_targets(held, known)


def with_targets(pairs: Pairs, known: Rows) -> Pairs:
    """`pairs` with the row of each pair's family as its target; NaN where there is none."""
    if not known:
        return pairs
    none = torch.full_like(next(iter(known.values())), math.nan)
    found = [none if family is None else known.get(family, none) for family in pairs.families]
    return replace(pairs, target=torch.stack(found))


def target_losses(logprobs: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Whether a pair has a target [P], and KL(softmax r_g ‖ P(· | h)) in nats, averaged over its rows [P].

    `logprobs` [N, K] are the head's for the rows. Without a target the number says nothing.
    """
    assert pairs.target is not None, "`with_targets` comes first"
    target = pairs.target.nan_to_num()[pairs.pair].to(logprobs.dtype)  # [N, K]
    divergence = (target.exp() * (target - logprobs)).sum(-1)
    count = torch.bincount(pairs.pair, minlength=len(pairs)).to(logprobs.dtype)
    means = logprobs.new_zeros(len(pairs)).index_add(0, pairs.pair, divergence) / count.clamp_min(1)
    return pairs.target.isfinite().all(-1), means


def _row(pairs: Pairs, temperatures: int, recipe: Recipe) -> Tensor:
    score = torch.zeros(temperatures, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([score], max_iter=200, line_search_fn="strong_wolfe")
    weight, sign = pairs.weights.double(), pairs.sign.double()

    def loss() -> Tensor:
        optimizer.zero_grad()
        logprobs = score.log_softmax(-1)
        steps = step_scores(logprobs.expand(len(pairs.pair), -1), pairs.index) * weight
        margin = margins(steps, pairs.pair, sign, len(pairs))
        delta = by_strength(STRENGTH_MARGINS, pairs.strengths) if recipe.strength == "margin" else 0.0
        losses = preference_losses(margin, recipe.beta, recipe.smoothing, delta)
        if recipe.strength == "weight":
            losses = losses * by_strength(STRENGTH_WEIGHTS, pairs.strengths)
        value = losses.mean() + recipe.pull * pull_to_uniform(logprobs[None]) + recipe.smooth * curvature(logprobs)
        value.backward()
        return value

    optimizer.step(loss)
    return score.detach().log_softmax(-1)
