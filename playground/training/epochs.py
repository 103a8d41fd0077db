"""The epochs of a fit: updates of a learner, what is known of it between them, and its way to disk and back.

Each epoch's order and dropout come from streams keyed by (seed, epoch): a fit that goes on after its 7th epoch draws what
the unbroken one draws, and ends with the same bits. A stop is heard before every batch; an epoch that it cuts is dropped:
neither what is kept nor what is on disk knows of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from playground.decoding.sampling import random_stream, stream_key
from playground.errors import PlaygroundError
from playground.training.best import Best
from playground.training.learner import Learner
from playground.training.pairs import Pairs
from playground.training.recipe import Recipe
from playground.training.resume import Resume


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, counted from 0, as plain values: mean losses and the share of held-out pairs put right."""

    epoch: int
    epochs: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float


class Run:
    """What changes from epoch to epoch, and its way to disk and back."""

    def __init__(self, learner: Learner[Any], recipe: Recipe, resume: Resume | None) -> None:
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


def epochs(
    run: Run,
    train: Pairs,
    held: Pairs,
    progress: Callable[[Epoch], None] | None,
    stop: Callable[[], bool] | None,
    quiet: bool,
) -> None:
    """Epochs until the recipe's end, or until `stop` says so; `run.stopped` then tells.

    Raises PlaygroundError for a fit that diverges, and for a stop before the first epoch has ended.
    """
    recipe = run.recipe
    with tqdm(total=recipe.epochs, initial=len(run.log), desc="train", mininterval=1, disable=quiet) as bar:
        while not run.over:
            number = len(run.log)
            train_loss = _epoch(run, train, number, stop)
            if train_loss is None:
                run.stopped = True
                break
            loss, margin = held_out(run.learner, held, recipe)
            if not math.isfinite(train_loss) or not math.isfinite(loss):
                diverged = f"The training diverged: the loss is not a number after epoch {number + 1}"
                raise PlaygroundError(
                    f"{diverged}; lower --learning-rate or --beta.", f"{diverged}; choose another loss."
                )
            run.ended(Epoch(number, recipe.epochs, train_loss, loss, accuracy(margin)))
            bar.set_postfix(held_out=f"{loss:.4f}", accuracy=f"{run.log[-1].held_out_accuracy:.3f}")
            bar.update()
            if progress is not None:
                progress(run.log[-1])
    if not run.log:
        raise PlaygroundError("The training was stopped before its first epoch; nothing was written.")


def _epoch(run: Run, train: Pairs, number: int, stop: Callable[[], bool] | None) -> float | None:
    """One pass of updates; the mean preference loss over the training pairs, with dropout as drawn. None: it was stopped."""
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
            if stop is not None and stop():
                return None
            batch = train.subset(group[place : place + recipe.batch])
            total += _backward(learner, batch, recipe, len(group))
        run.optimizer.step()
    return total / len(order)


def _backward(learner: Learner[Any], batch: Pairs, recipe: Recipe, pairs: int) -> float:
    """Adds this batch's share of the gradient of the mean over `pairs` pairs; the sum of its preference losses."""
    total = 0.0
    for _ in range(recipe.samples):
        loss, whole = learner.losses(batch, recipe)
        (whole.sum() / (pairs * recipe.samples)).backward()
        total += float(loss.detach().sum()) / recipe.samples
    return total


@torch.no_grad()
def held_out(learner: Learner[Any], held: Pairs, recipe: Recipe) -> tuple[float, Tensor]:
    """The mean preference loss over held-out pairs and their margins [P], without dropout or learned mask."""
    learner.eval()
    given = replace(recipe, token_weights="given") if recipe.token_weights == "sparse" else recipe
    loss, _ = learner.losses(held, given)
    return float(loss.mean()), learner.margins(held, recipe)


def accuracy(margin: Tensor) -> float:
    """Share of margins above 0; one of exactly 0 is half right."""
    return float(((margin > 0).double() + 0.5 * (margin == 0).double()).mean())


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
