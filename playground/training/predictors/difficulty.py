"""`difficulty`: prompts with known answers → a probe that tells easy, normal and hard from the prompt's last state.

The labels are what the model's own samples show (training/predictors/difficulty_labels.py). The probe (models/difficulty_probe.py)
learns them from the state after the plain prompt: cross-entropy, Adam, the epoch with the lowest loss on the dev prompts.

Departures from DiffAdapt (arXiv 2510.19669): questions of fact instead of mathematics, replies of a few dozen tokens, and
the entropy in nats over the whole reply, since what we could read of the paper names neither unit nor span.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import correlation, fmean, median
from typing import Any

import torch
from torch import Tensor

from models.checkpoints import Checkpoint, save
from models.difficulty_probe import DifficultyProbe
from models.meta import Base, Meta
from playground.decoding.decoders.difficulty_router import CLASSES, PRESETS
from playground.errors import PlaygroundError
from playground.training.best import Best
from playground.training.labels.lanes import SPLITS, prompt_records
from playground.training.predictors import difficulty_card
from playground.training.predictors.difficulty_labels import Observed, Recipe, observe
from playground.training.train import commit


def run(
    model: Any,
    prompts: Path,
    name: str,
    folder: Path,
    features_folder: Path,
    recipe: Recipe | None = None,
    limit: int | None = None,
    command: str = "",
) -> Checkpoint:
    """Labels the prompts, fits the probe and writes its three files to `folder`. Deterministic by the recipe's seed."""
    recipe = recipe or Recipe()
    records = records_of(prompts, limit)
    observed = observe(model, records, recipe, features_folder)
    probe, epoch = fit(observed, recipe)
    meta = Meta(
        kind="difficulty-probe",
        base=Base.of(model),
        grid=(),
        width=probe.width,
        loss="cross-entropy",
        parent=None,
        data_sha256=hashlib.sha256(prompts.read_bytes()).hexdigest(),
        metrics={"recipe": asdict(recipe), "epoch": epoch, **figures(probe, observed)},
        temperature_histogram=(),
        command=command,
        commit=commit(),
    )
    return save(folder, name, probe, meta, difficulty_card.text(name, meta))


def records_of(prompts: Path, limit: int | None) -> list[dict[str, Any]]:
    """The prompts of all splits. Raises PlaygroundError for a file that lacks one."""
    return [{**r, "split": split} for split in SPLITS for r in prompt_records(prompts, split, limit)]


def fit(observed: Sequence[Observed], recipe: Recipe) -> tuple[DifficultyProbe, int]:
    """The probe of the epoch with the lowest loss on the dev prompts, and that epoch."""
    if not {"train", "dev"} <= {o.split for o in observed}:
        raise PlaygroundError(
            "`prompts` must hold prompts of the splits train, dev and test, each with accepted answers."
        )
    hidden, labels = _stack(observed, "train")
    dev_hidden, dev_labels = _stack(observed, "dev")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        probe = DifficultyProbe(hidden.shape[1], dropout=recipe.dropout)
        probe.standardise(hidden)
        optimiser = torch.optim.AdamW(probe.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        best = Best(probe)
        for epoch in range(1, recipe.epochs + 1):
            probe.train()
            optimiser.zero_grad()
            torch.nn.functional.nll_loss(probe(hidden), labels).backward()
            optimiser.step()
            probe.eval()
            with torch.no_grad():
                loss = float(torch.nn.functional.nll_loss(probe(dev_hidden), dev_labels))
            best.waited(epoch, loss)
    best.restore()
    return probe.eval(), best.epoch


def _stack(observed: Sequence[Observed], split: str) -> tuple[Tensor, Tensor]:
    """States [N, H] and class indices [N] of one split."""
    chosen = [o for o in observed if o.split == split]
    return torch.stack([o.state for o in chosen]), torch.tensor([CLASSES.index(o.label) for o in chosen])


@torch.no_grad()
def figures(probe: DifficultyProbe, observed: Sequence[Observed]) -> dict[str, Any]:
    """Counts of labels by split, and on the test prompts what the probe and the training shares alone get right."""
    counts = {split: dict(Counter(o.label for o in observed if o.split == split)) for split in SPLITS}
    hidden, labels = _stack(observed, "test")
    predicted = probe(hidden)
    train = torch.bincount(_stack(observed, "train")[1], minlength=len(CLASSES)).double()
    shares = train / train.sum()
    chosen = predicted.argmax(-1)
    confusion = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.long)
    confusion.index_put_((labels, chosen), torch.ones_like(labels), accumulate=True)
    smoothed = (train + 1) / (train + 1).sum()
    return {
        "labels": counts,
        "accuracy": float((chosen == labels).double().mean()),
        "majority": float((labels == train.argmax()).double().mean()),
        "chance": float(shares[labels].mean()),
        "nats": float(torch.nn.functional.nll_loss(predicted, labels)),
        "nats_of_the_shares": float(-smoothed[labels].log().mean()),
        "confusion": confusion.tolist(),
        "correlation": _correlation([PRESETS[i].temperature for i in chosen.tolist()], observed),
        "right_replies": fmean(o.accuracy for o in observed),
        "entropy_nats": fmean(o.entropy for o in observed),
        "entropy_quantiles": [f(o.entropy for o in observed) for f in (min, median, max)],
        "prompts": len(observed),
    }


def _correlation(temperatures: Sequence[float], observed: Sequence[Observed]) -> float | None:
    """Pearson's r of the presets' temperatures with the test prompts' entropies; None where all presets are one."""
    entropies = [o.entropy for o in observed if o.split == "test"]
    return correlation(temperatures, entropies) if min(len(set(temperatures)), len(set(entropies))) > 1 else None
