"""Fitting a head to pairs of cached features: deterministic by seed, early stopping on pairs of held-out prompts.

The language model is never asked. Each epoch's order and dropout come from streams keyed by (seed, epoch): a fit that goes
on after its 7th epoch draws what the unbroken one draws, and ends with the same bits.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from models.adaptive_decoder import AdaptiveDecoder
from playground.decoding.sampling import random_stream, stream_key
from playground.errors import PlaygroundError
from playground.training.best import Best
from playground.training.learner import Learner
from playground.training.pairs import Pairs
from playground.training.recipe import Recipe
from playground.training.reliability import calibration_error, reliability
from playground.training.resume import Resume

__all__ = ["Epoch", "Fit", "Pairs", "Recipe", "calibration_error", "fit", "held_margins", "split_by_prompt"]
SCALES = tuple(10 ** (i / 20) for i in range(-20, 21))  # what logits may be divided by: .1 to 10


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, counted from 0, as plain values: mean losses and the share of held-out pairs put right."""

    epoch: int
    epochs: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float


@dataclass(frozen=True)
class Fit:
    """The fitted head, the epoch it was taken from, the loss curve, and held-out loss, accuracy and calibration.

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
        raise PlaygroundError(f"`data` must hold pairs of at least 2 prompts, got {len(prompts)}.")
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
    stop       asked after every epoch; the best state so far is then the result
    resume     where the state is kept after every epoch, and looked for at the start
    quiet      no progress bar

    Raises PlaygroundError for states that are not numbers and for a fit that diverges.
    """
    _check(pairs)
    train_numbers, held_numbers = split_by_prompt(pairs, recipe.held_out, recipe.seed)
    train, held = pairs.subset(train_numbers), pairs.subset(held_numbers)
    with torch.random.fork_rng(devices=[]):
        learner = _learner(train, temperatures, recipe, start)
        run = _Run(learner, recipe, resume)
        _epochs(run, train, held, progress, stop, quiet)
    run.best.restore()
    decoder = learner.decoder
    scale = _calibrate(learner, held, recipe) if recipe.calibrate == "temperature" else 1.0
    loss, margin = _held_out(learner, held, recipe)
    confidence = torch.sigmoid(recipe.beta * margin)
    return Fit(
        decoder.eval(),
        run.best.epoch,
        tuple((epoch.train_loss, epoch.held_out_loss) for epoch in run.log),
        loss if recipe.calibrate == "temperature" else run.best.loss,
        _accuracy(margin),
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
    decoder.eval()
    return Learner(decoder).margins(pairs, recipe or Recipe())


class _Run:
    """What changes from epoch to epoch, and its way to disk and back."""

    def __init__(self, learner: Learner, recipe: Recipe, resume: Resume | None) -> None:
        self.learner, self.recipe, self.resume = learner, recipe, resume
        self.optimizer = torch.optim.AdamW(
            learner.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.best = Best(learner.decoder, epoch=-1)
        self.log: list[Epoch] = []
        self.stopped = False
        if resume is not None:
            self._load(resume)

    @property
    def over(self) -> bool:
        waited = len(self.log) - 1 - self.best.epoch
        return bool(self.log) and (len(self.log) >= self.recipe.epochs or waited >= self.recipe.patience)

    def ended(self, epoch: Epoch) -> None:
        """Notes a finished epoch and keeps the state."""
        self.log.append(epoch)
        self.best.waited(epoch.epoch, epoch.held_out_loss)
        if self.resume is not None:
            self._save(self.resume)

    def _save(self, resume: Resume) -> None:
        tensors = {f"learner.{name}": value for name, value in self.learner.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.kept.items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
        log = [vars(epoch) for epoch in self.log]
        resume.save(tensors, {"log": log, "loss": self.best.loss, "epoch": self.best.epoch})

    def _load(self, resume: Resume) -> None:
        found = resume.load()
        if found is None:
            return
        tensors, state = found
        self.learner.load_state_dict(_under("learner.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            number, part = name.split(".")
            moments.setdefault(int(number), {})[part] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.best.resume(_under("best.", tensors), state["loss"], state["epoch"])
        self.log = [Epoch(**values) for values in state["log"]]


def _epochs(
    run: _Run,
    train: Pairs,
    held: Pairs,
    progress: Callable[[Epoch], None] | None,
    stop: Callable[[], bool] | None,
    quiet: bool,
) -> None:
    recipe = run.recipe
    with tqdm(total=recipe.epochs, initial=len(run.log), desc="train", mininterval=1, disable=quiet) as bar:
        while not run.over:
            number = len(run.log)
            train_loss = _epoch(run, train, number)
            loss, margin = _held_out(run.learner, held, recipe)
            if not math.isfinite(train_loss) or not math.isfinite(loss):
                raise PlaygroundError(
                    f"The training diverged: the loss is not a number after epoch {number + 1}; lower --learning-rate or --beta."
                )
            run.ended(Epoch(number, recipe.epochs, train_loss, loss, _accuracy(margin)))
            bar.set_postfix(held_out=f"{loss:.4f}", accuracy=f"{run.log[-1].held_out_accuracy:.3f}")
            bar.update()
            if progress is not None:
                progress(run.log[-1])
            if stop is not None and not run.over and stop():
                run.stopped = True
                return


def _epoch(run: _Run, train: Pairs, number: int) -> float:
    """One pass of updates; the mean preference loss over the training pairs, with dropout as drawn."""
    recipe, learner = run.recipe, run.learner
    torch.manual_seed(stream_key(recipe.seed, "dropout", number))
    order = torch.randperm(len(train), generator=random_stream(recipe.seed, "order", number)).tolist()
    learner.train()
    total = 0.0
    step = recipe.batch * recipe.accumulate
    for first in range(0, len(order), step):
        group = order[first : first + step]
        run.optimizer.zero_grad()
        for place in range(0, len(group), recipe.batch):
            batch = train.subset(group[place : place + recipe.batch])
            total += _backward(learner, batch, recipe, len(group))
        run.optimizer.step()
    return total / len(order)


def _backward(learner: Learner, batch: Pairs, recipe: Recipe, pairs: int) -> float:
    """Adds this batch's share of the gradient of the mean over `pairs` pairs; the sum of its preference losses."""
    total = 0.0
    for _ in range(recipe.samples):
        loss, whole = learner.losses(batch, recipe)
        (whole.sum() / (pairs * recipe.samples)).backward()
        total += float(loss.detach().sum()) / recipe.samples
    return total


@torch.no_grad()
def _held_out(learner: Learner, held: Pairs, recipe: Recipe) -> tuple[float, Tensor]:
    """The mean preference loss over held-out pairs and their margins [P], without dropout or learned mask."""
    learner.eval()
    given = recipe if recipe.token_weights != "sparse" else _with_given_weights(recipe)
    loss, _ = learner.losses(held, given)
    return float(loss.mean()), learner.margins(held, recipe)


def _with_given_weights(recipe: Recipe) -> Recipe:
    values = {**vars(recipe), "token_weights": "given"}
    return Recipe(**values)


def _accuracy(margin: Tensor) -> float:
    """Share of margins above 0; one of exactly 0 is half right."""
    return float(((margin > 0).double() + 0.5 * (margin == 0).double()).mean())


def _learner(train: Pairs, temperatures: int, recipe: Recipe, start: AdaptiveDecoder | None) -> Learner:
    """A new head standardised over the training rows, or a copy of `start`, which keeps its own standardisation."""
    torch.manual_seed(recipe.seed)
    if start is None:
        decoder = AdaptiveDecoder(train.hidden.shape[1], temperatures, dropout=recipe.dropout)
        decoder.standardise(train.hidden if train.state is None else train.hidden[train.state])
    else:
        decoder = copy.deepcopy(start).requires_grad_(True)
        decoder.dropout.p = recipe.dropout
    return Learner(decoder)


def _calibrate(learner: Learner, held: Pairs, recipe: Recipe) -> float:
    """Divides the head's logits by the number of SCALES with the lowest held-out loss, in place (temperature scaling).

    Which temperature is likeliest stays the same. The held-out pairs are then no longer untouched: report other ones.
    """
    last = learner.decoder.last
    weight, bias = last.weight.detach().clone(), last.bias.detach().clone()

    def apply(scale: float) -> float:
        with torch.no_grad():
            last.weight.copy_(weight / scale)
            last.bias.copy_(bias / scale)
        return _held_out(learner, held, recipe)[0]

    best = min(SCALES, key=lambda scale: (apply(scale), abs(math.log(scale))))
    apply(best)
    return best


def _check(pairs: Pairs) -> None:
    if not len(pairs):
        raise PlaygroundError("`data` holds no pair to learn from; sample or collect more.")
    if not torch.isfinite(pairs.hidden).all():
        raise PlaygroundError(
            "`data` gives hidden states that are NaN or infinite; load the model with --precision float32."
        )
    likelihood = pairs.likelihood
    if likelihood is not None and not torch.isfinite(likelihood.amax(-1)).all():
        raise PlaygroundError(
            "`data` holds a token that no temperature of the grid can draw; give the grid one above 0."
        )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
