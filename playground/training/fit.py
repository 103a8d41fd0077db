"""Fitting a head to pairs of cached features: deterministic by seed, early stopping on pairs of held-out prompts."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from models.adaptive_decoder import AdaptiveDecoder
from playground.errors import PlaygroundError
from playground.training.best import Best
from playground.training.lpo import margins, pull_to_uniform, separate_loss, step_scores


@dataclass(frozen=True)
class Recipe:
    """How a head is fitted. The paper states none of these; they are this project's choices.

    beta            strength of the loss           pull      weight of the KL to uniform
    held_out        share of prompts kept for early stopping; no pair of theirs is trained on
    patience        epochs without a lower held-out loss before the fit ends
    """

    seed: int = 0
    beta: float = 0.1
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    dropout: float = 0.2
    pull: float = 0.0
    epochs: int = 60
    batch: int = 32
    held_out: float = 0.2
    patience: int = 8


@dataclass(frozen=True)
class Pairs:
    """Steps of P pairs: hidden [N, H], index [N] of the drawn temperature, pair [N], sign [N], and each pair's prompt."""

    hidden: Tensor
    index: Tensor
    pair: Tensor
    sign: Tensor
    prompts: tuple[str, ...]

    def subset(self, keep: list[int]) -> Pairs:
        """The pairs with these numbers, renumbered in this order."""
        place = torch.full((len(self.prompts),), -1)
        place[torch.tensor(keep)] = torch.arange(len(keep))
        mask = place[self.pair] >= 0
        prompts = tuple(self.prompts[i] for i in keep)
        return Pairs(self.hidden[mask], self.index[mask], place[self.pair[mask]], self.sign[mask], prompts)


@dataclass(frozen=True)
class Fit:
    """The fitted head, the epoch it was taken from, the loss curve, and held-out loss, accuracy and calibration."""

    decoder: AdaptiveDecoder
    epoch: int
    curve: tuple[tuple[float, float], ...]
    held_out_loss: float
    held_out_accuracy: float
    calibration_error: float
    train_pairs: int
    held_out_pairs: int


def split_by_prompt(pairs: Pairs, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the training and the held-out pairs; a prompt is on one side only."""
    prompts = sorted(set(pairs.prompts))
    if len(prompts) < 2:
        raise PlaygroundError(f"`data` must hold pairs of at least 2 prompts, got {len(prompts)}.")
    random.Random(seed).shuffle(prompts)
    held = set(prompts[: max(1, round(share * len(prompts)))])
    numbers = range(len(pairs.prompts))
    return [i for i in numbers if pairs.prompts[i] not in held], [i for i in numbers if pairs.prompts[i] in held]


def fit(pairs: Pairs, temperatures: int, recipe: Recipe) -> Fit:
    """Trains a new head of `temperatures` outputs; the state with the lowest held-out loss is kept."""
    train_numbers, held_numbers = split_by_prompt(pairs, recipe.held_out, recipe.seed)
    held = pairs.subset(held_numbers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        decoder = AdaptiveDecoder(pairs.hidden.shape[1], temperatures, dropout=recipe.dropout)
        decoder.standardise(pairs.subset(train_numbers).hidden)
        optimizer = torch.optim.AdamW(decoder.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        order = random.Random(recipe.seed)
        best = Best(decoder, epoch=-1)
        curve: list[tuple[float, float]] = []
        for epoch in range(recipe.epochs):
            order.shuffle(train_numbers)
            losses = [
                _update(decoder, optimizer, pairs.subset(train_numbers[i : i + recipe.batch]), recipe)
                for i in range(0, len(train_numbers), recipe.batch)
            ]
            loss = float(separate_loss(held_margins(decoder, held), recipe.beta))
            curve.append((sum(losses) / len(losses), loss))
            if best.waited(epoch, loss) >= recipe.patience:
                break
        best.restore()
    margin = held_margins(decoder, held)
    return Fit(
        decoder.eval(),
        best.epoch,
        tuple(curve),
        best.loss,
        float((margin > 0).float().mean()),
        calibration_error(torch.sigmoid(recipe.beta * margin)),
        len(train_numbers),
        len(held_numbers),
    )


@torch.no_grad()
def held_margins(decoder: AdaptiveDecoder, pairs: Pairs) -> Tensor:
    """Margins [P] without dropout."""
    decoder.eval()
    return margins(step_scores(decoder(pairs.hidden), pairs.index), pairs.pair, pairs.sign, len(pairs.prompts))


def calibration_error(confidence: Tensor) -> float:
    """|mean predicted probability that the chosen wins, of the predicted winner, − share predicted right|.

    One bin, since the pairs are few: 0 is calibrated, above 0 over- or under-confident.
    """
    certainty = torch.maximum(confidence, 1 - confidence).mean()
    return float((certainty - (confidence > 0.5).float().mean()).abs())


def _update(decoder: AdaptiveDecoder, optimizer: torch.optim.Optimizer, batch: Pairs, recipe: Recipe) -> float:
    decoder.train()
    logprobs = decoder(batch.hidden)
    margin = margins(step_scores(logprobs, batch.index), batch.pair, batch.sign, len(batch.prompts))
    loss = separate_loss(margin, recipe.beta)
    optimizer.zero_grad()
    (loss + recipe.pull * pull_to_uniform(logprobs)).backward()
    optimizer.step()
    return float(loss.detach())
