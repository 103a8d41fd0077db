"""`auto-deco`: reference texts → heads for temperature and top-p, trained with AutoDeco's loss (models/auto_deco.py).

1. The states of the texts come from the cache (training/predictors/corpus.py); the logits of at most 64 tokens a text are computed
   from them once and kept in rank order (training/predictors/ranked.py).
2. Loss: −ln of the reference token's probability after the predicted temperature and the soft top-p mask, mean over
   tokens. Adam over minibatches, from the best constants of the training tokens; one training prompt in eight decides
   which epoch is kept.
3. Figures are of the held-out texts, which neither of these has seen.

`drop_easy` and `prior_weight` are the paper's two changes to the loss, off by default: the share of tokens dropped, anew
every epoch, of those that greedy decoding gets right; and weighting by the model's probability of the token at T = 1.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.auto_deco import AutoDeco
from models.checkpoints import Checkpoint, save
from models.language_model import LanguageModel
from models.meta import Base, Meta
from models.tuned_lens import unembed
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.training.best import Best
from playground.training.predictors import auto_deco_card, auto_deco_figures, corpus
from playground.training.predictors.ranked import Ranked, cached_ranked, losses
from playground.training.train import commit

VALIDATION_ONE_IN = 8
PER_TEXT = 64  # tokens of one text, evenly spaced


@dataclass(frozen=True)
class Recipe:
    learning_rate: float = 1e-4
    weight_decay: float = 0.1
    dropout: float = 0.3
    batch: int = 512
    epochs: int = 20
    patience: int = 4
    drop_easy: float = 0.0
    prior_weight: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Split:
    """The tokens to train on, those that choose the epoch, and those that are held out."""

    train: Ranked
    validation: Ranked
    held_out: Ranked


def run(
    model: LanguageModel,
    texts: Path,
    name: str,
    folder: Path,
    features_folder: Path,
    recipe: Recipe | None = None,
    tokens: int | None = None,
    command: str = "",
) -> Checkpoint:
    """Fits the heads and writes their three files to `folder`. Deterministic by the recipe's seed."""
    recipe = recipe or Recipe()
    read, digest = corpus.read(texts)
    split = gathered(model, read, features_folder, tokens, functools.partial(unembed, model))
    heads, epoch, validation = fit(split, recipe)
    training = {
        "recipe": asdict(recipe),
        "epoch": epoch,
        "validation_nats": validation,
        "tokens": {"train": len(split.train), "validation": len(split.validation), "held_out": len(split.held_out)},
    }
    meta = Meta(
        kind="auto-deco",
        base=Base.of(model),
        grid=(),
        width=heads.width,
        loss="soft top-p cross-entropy",
        parent=None,
        data_sha256=digest,
        metrics={**training, **auto_deco_figures.figures(heads, split.train, split.held_out)},
        temperature_histogram=(),
        command=command,
        commit=commit(),
    )
    return save(folder, name, heads, meta, auto_deco_card.text(name, meta))


def gathered(
    model: LanguageModel,
    texts: Sequence[corpus.Text],
    features_folder: Path,
    tokens: int | None,
    logits: Callable[[Tensor], Tensor],
) -> Split:
    """Every reply token of the texts in rank order, each text wholly in one part. `logits` [N, V] are those of states [N, H]."""
    parts: dict[str, list[Ranked]] = {"train": [], "validation": [], "held out": []}
    for number, passage in enumerate(corpus.passages(model, texts, features_folder, tokens)):
        part = "held out" if passage.text.held_out else "validation" if _validates(passage.text.prompt) else "train"
        chosen = spread(len(passage.reply_ids))
        ids = [passage.reply_ids[place] for place in chosen]
        key = canonical_json(
            [model.name, model.revision, model.precision, passage.prompt_ids, passage.reply_ids, chosen]
        )
        folder = features_folder.with_name("ranked")
        parts[part].append(cached_ranked(passage.hidden[chosen], logits, ids, number, key, folder))
    if not all(parts.values()):
        raise PlaygroundError(
            "`texts` must hold at least about twenty prompts with replies, so that each split has some."
        )
    return Split(*(Ranked.joined(part) for part in parts.values()))


def spread(count: int) -> list[int]:
    """At most PER_TEXT places of `count`, evenly spaced: a long text then does not outweigh the rest."""
    return [k * count // min(count, PER_TEXT) for k in range(min(count, PER_TEXT))]


def weights(tokens: Ranked, recipe: Recipe, noise: torch.Generator) -> Tensor:
    """What each token's loss weighs [N]; 1 unless the recipe asks for the paper's changes."""
    weight = torch.ones(len(tokens))
    if recipe.drop_easy:
        dropped = torch.rand(len(tokens), generator=noise) < recipe.drop_easy
        weight[dropped & (tokens.place == 0)] = 0.0
    if recipe.prior_weight:
        weight = weight * (-losses(tokens, torch.ones(len(tokens)), None)).exp()
    return weight


def fit(split: Split, recipe: Recipe) -> tuple[AutoDeco, int, float]:
    """The heads of the epoch with the lowest validation loss, that epoch, and that loss in nats."""
    noise = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        heads = AutoDeco(split.train.hidden.shape[1], dropout=recipe.dropout)
        heads.standardise(split.train.hidden)
        heads.start_at(*auto_deco_figures.best_pair(split.train))
        optimiser = torch.optim.AdamW(heads.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        best = Best(heads, _mean(heads, split.validation, recipe))
        for epoch in range(1, recipe.epochs + 1):
            _epoch(heads, split.train, recipe, optimiser, noise)
            if best.waited(epoch, _mean(heads, split.validation, recipe)) >= recipe.patience:
                break
    best.restore()
    return heads.eval(), best.epoch, best.loss


def _epoch(
    heads: AutoDeco, train: Ranked, recipe: Recipe, optimiser: torch.optim.Optimizer, noise: torch.Generator
) -> None:
    heads.train()
    weight = weights(train, recipe, noise)
    for chosen in torch.randperm(len(train), generator=noise).split(recipe.batch):
        tokens = train.at(chosen)
        temperature, top_p = heads(tokens.hidden).unbind(-1)
        loss = (weight[chosen] * losses(tokens, temperature, top_p)).sum() / weight[chosen].sum().clamp_min(1e-9)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def _mean(heads: AutoDeco, tokens: Ranked, recipe: Recipe) -> float:
    """The mean loss in nats, weighted as in training (nothing is dropped)."""
    heads.eval()
    weight = weights(tokens, Recipe(prior_weight=recipe.prior_weight), torch.Generator())
    loss = losses(tokens, *heads(tokens.hidden).unbind(-1))
    return float((weight * loss).sum() / weight.sum())


def _validates(prompt: str) -> bool:
    return hashlib.sha256(f"validation\n{prompt}".encode()).digest()[0] % VALIDATION_ONE_IN == 0
