"""Fitting a head to pairs of cached features: deterministic by seed, early stopping on pairs of held-out prompts.

The language model is never asked. The epochs themselves: training/epochs.py.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from models.adaptive_decoder import AdaptiveDecoder
from playground.errors import PlaygroundError
from playground.training.epochs import Epoch, Run, accuracy, epochs, held_out
from playground.training.learner import Learner
from playground.training.pairs import Pairs
from playground.training.pooling import taught
from playground.training.recipe import Recipe
from playground.training.reliability import calibration_error, reliability
from playground.training.resume import Resume

__all__ = ["Epoch", "Fit", "Pairs", "Recipe", "calibration_error", "fit", "held_margins", "split_by_prompt"]
SCALES = tuple(10 ** (i / 20) for i in range(-20, 21))  # what logits may be divided by: .1 to 10


@dataclass(frozen=True)
class Fit:
    """The fitted head, the epoch it was taken from, the loss curve, and held-out loss, accuracy and calibration.

    held_out_loss  the preference loss, also where pairs were pooled and the curve is the divergence from their rows

    reliability    bins of the predicted winner's probability (training/reliability.py)
    logit_scale    what the head's logits were divided by to fit the held-out pairs; 1 where not asked for
    stopped        whether it was told to stop before it would have
    """

    decoder: AdaptiveDecoder
    epoch: int
    curve: tuple[tuple[float, float], ...]
    held_out_loss: float
    held_out_accuracy: float
    calibration_error: float
    train_pairs: int
    held_out_pairs: int
    reliability: list[dict[str, Any]] = field(default_factory=list)
    logit_scale: float = 1.0
    stopped: bool = False


def split_by_prompt(pairs: Pairs, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the training and the held-out pairs; a prompt is on one side only."""
    prompts = sorted(set(pairs.prompts))
    if len(prompts) < 2:
        raise PlaygroundError(
            f"`data` must hold pairs of at least 2 prompts, got {len(prompts)}.",
            f"The votes that can train this must be on at least 2 prompts, and these are on {len(prompts)}; "
            "vote on another prompt too.",
        )
    random.Random(seed).shuffle(prompts)
    held = set(prompts[: min(len(prompts) - 1, max(1, round(share * len(prompts))))])
    numbers = range(len(pairs.prompts))
    return [i for i in numbers if pairs.prompts[i] not in held], [i for i in numbers if pairs.prompts[i] in held]


def fit(
    pairs: Pairs,
    temperatures: int,
    recipe: Recipe,
    start: AdaptiveDecoder | None = None,
    progress: Callable[[Epoch], None] | None = None,
    stop: Callable[[], bool] | None = None,
    resume: Resume | None = None,
    quiet: bool = False,
) -> Fit:
    """A head of `temperatures` outputs; the state with the lowest held-out loss is kept.

    start      the head to go on from (a parent); else a new, uniform one
    progress   called after every epoch
    stop       asked before every batch; the best state so far is then the result
    resume     where the state is kept after every epoch, and looked for at the start
    quiet      no progress bar

    Raises PlaygroundError for states that are not numbers, for a fit that diverges and for a stop within the first epoch.
    """
    _check(pairs)
    train_numbers, held_numbers = split_by_prompt(pairs, recipe.held_out, recipe.seed)
    train, held = taught(pairs.subset(train_numbers), pairs.subset(held_numbers), temperatures, recipe)
    with torch.random.fork_rng(devices=[]):
        learner = _learner(train, temperatures, recipe, start)
        run = Run(learner, recipe, resume)
        epochs(run, train, held, progress, stop, quiet)
    run.best.restore()
    decoder = learner.decoder
    scale = _calibrate(learner, held, recipe) if recipe.calibrate == "temperature" else 1.0
    loss, margin = held_out(learner, replace(held, target=None), recipe)
    confidence = torch.sigmoid(recipe.beta * margin)
    return Fit(
        decoder.eval(),
        run.best.epoch,
        tuple((epoch.train_loss, epoch.held_out_loss) for epoch in run.log),
        loss,
        accuracy(margin),
        calibration_error(confidence),
        len(train_numbers),
        len(held_numbers),
        reliability(confidence),
        scale,
        run.stopped,
    )


@torch.no_grad()
def held_margins(decoder: AdaptiveDecoder, pairs: Pairs, recipe: Recipe | None = None) -> Tensor:
    """Margins [P] without dropout."""
    with torch.random.fork_rng(devices=[]):
        learner = Learner(decoder).eval()
    return learner.margins(pairs, recipe or Recipe())


def _learner(
    train: Pairs, temperatures: int, recipe: Recipe, start: AdaptiveDecoder | None
) -> Learner[AdaptiveDecoder]:
    """A new head standardised over the training rows, or a copy of `start`, which keeps its own standardisation."""
    torch.manual_seed(recipe.seed)
    if start is None:
        decoder = AdaptiveDecoder(train.hidden.shape[1], temperatures, dropout=recipe.dropout)
        decoder.standardise(train.hidden if train.state is None else train.hidden[train.state])
    else:
        decoder = copy.deepcopy(start).requires_grad_(True)
        decoder.dropout.p = recipe.dropout
    return Learner(decoder)


def _calibrate(learner: Learner[AdaptiveDecoder], held: Pairs, recipe: Recipe) -> float:
    """Divides the head's logits by the number of SCALES with the lowest held-out loss, in place (temperature scaling).

    Which temperature is likeliest stays the same. The held-out pairs are then no longer untouched: report other ones.
    """
    last = learner.decoder.last
    weight, bias = last.weight.detach().clone(), last.bias.detach().clone()

    def apply(scale: float) -> float:
        with torch.no_grad():
            last.weight.copy_(weight / scale)
            last.bias.copy_(bias / scale)
        return held_out(learner, held, recipe)[0]

    best = min(SCALES, key=lambda scale: (apply(scale), abs(math.log(scale))))
    apply(best)
    return best


def _check(pairs: Pairs) -> None:
    if not len(pairs):
        raise PlaygroundError(
            "`data` holds no pair to learn from; sample or collect more.",
            "These votes hold no pair to learn from; collect more.",
        )
    if not torch.isfinite(pairs.hidden).all():
        raise PlaygroundError(
            "`data` gives hidden states that are NaN or infinite; load the model with --precision float32.",
            "The model's hidden states on these votes are NaN or infinite; start the playground in float32.",
        )
    likelihood = pairs.likelihood
    if likelihood is not None and not torch.isfinite(likelihood.amax(-1)).all():
        raise PlaygroundError(
            "`data` holds a token that no temperature of the grid can draw; give the grid one above 0.",
            "A reply of these votes holds a token that no temperature of the grid can draw; choose another loss.",
        )
