"""`tempnet`: reference texts → a temperature network, trained with TempNet's robust loss (models/tempnet.py).

1. The states of the texts come from the cache (training/predictors/corpus.py). Their logits are computed once and their
   losses kept as curves over the temperature (training/predictors/robust.py).
2. Adam over minibatches; one training text in eight decides which epoch is kept. The label cancels in the gradient, so the
   texts only say where the model is asked, not what it should have answered.
3. The first layer is trained over standardised inputs and the scale folded back: the same network, better conditioned.
   Where logits are W_U times the state it is trained in the folded form, else (soft-capped, with a bias) in the full one.

Departures from the paper: a target entropy instead of rho = ln V − target; batch, rate and length are this project's.

Shapes: N tokens, V vocabulary, H hidden, D inputs of the first layer.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from models.checkpoints import Checkpoint, save
from models.language_model import LanguageModel
from models.meta import Base, Meta
from models.tempnet import TempNet, folded_inputs
from models.tuned_lens import unembed
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.training.best import Best
from playground.training.predictors import corpus, tempnet_card, tempnet_figures
from playground.training.predictors.robust import CHUNK, Curves, cached_curves
from playground.training.train import commit

VALIDATION_ONE_IN = 8
PARTS = ("train", "validation", "held out")

Unembed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """Target entropy in nats; the rest is how the network is fitted. `patience`: epochs without a lower validation loss."""

    target_nats: float = 2.0
    learning_rate: float = 1e-3
    dropout: float = 0.5
    batch: int = 256
    epochs: int = 60
    patience: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Tokens:
    """Reply tokens: states [N, H], the reference's ids [N], loss curves, and inputs of the folded first layer [N, H + 1]."""

    hidden: Tensor
    labels: Tensor
    curves: Curves
    inputs: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        hidden, labels, inputs = (torch.cat([getattr(p, n) for p in parts]) for n in ("hidden", "labels", "inputs"))
        return cls(hidden, labels, Curves.joined([part.curves for part in parts]), inputs)


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
    """Fits a network and writes its three files to `folder`. Deterministic by the recipe's seed."""
    recipe = recipe or Recipe()
    most = math.log(model.vocab_size)
    if not 0 < recipe.target_nats < most:
        raise PlaygroundError(
            f"`target-nats` must lie between 0 and ln V = {most:.2f} (neither included), got {recipe.target_nats:g}."
        )
    read, digest = corpus.read(texts)
    logits = functools.partial(unembed, model)
    full = not linear(logits, model.hidden_size)
    blank = TempNet(model.vocab_size if full else model.hidden_size, full, dropout=recipe.dropout)
    passages = corpus.passages(model, read, features_folder, tokens)
    parts = gathered(model, passages, logits, blank, features_folder)
    network, epoch, validation = fit(parts["train"], parts["validation"], logits, blank, recipe)
    metrics = {
        "recipe": asdict(recipe),
        "tokens": {part: len(parts[part]) for part in PARTS},
        "epoch": epoch,
        "validation_nats": validation,
        **tempnet_figures.figures(network, parts["train"].curves, parts["held out"], logits, recipe.target_nats),
    }
    meta = Meta(
        kind="tempnet",
        base=Base.of(model),
        grid=(),
        width=network.width,
        loss="robust",
        parent=None,
        data_sha256=digest,
        metrics=metrics,
        temperature_histogram=(),
        command=command,
        commit=commit(),
        settings={
            "target_nats": recipe.target_nats,
            "rho": most - recipe.target_nats,
            "full": float(full),
            "low": network.low,
            "high": network.high,
        },
    )
    return save(folder, name, network, meta, tempnet_card.text(name, meta))


@torch.no_grad()
def linear(logits: Unembed, hidden_size: int) -> bool:
    """Whether the logits are a matrix times the state: twice the state then has twice the logits, and 0 has none."""
    state = torch.randn(1, hidden_size, generator=torch.Generator().manual_seed(0))
    one, two = logits(state), logits(2 * state)
    return bool(torch.allclose(two, 2 * one, rtol=1e-3, atol=1e-3 * float(one.abs().max()))) and not bool(
        logits(torch.zeros_like(state)).any()
    )


@torch.no_grad()
def gathered(
    model: LanguageModel, passages: Iterable[corpus.Passage], logits: Unembed, network: TempNet, folder: Path
) -> dict[str, Tokens]:
    """The tokens of the texts by part. Raises PlaygroundError where a part has none."""
    rows: dict[str, list[Tokens]] = {part: [] for part in PARTS}
    for passage in passages:
        key = canonical_json([model.name, model.revision, model.precision, passage.prompt_ids, passage.reply_ids])
        ids = torch.tensor(passage.reply_ids)
        found = cached_curves(passage.hidden, ids, logits, (network.low, network.high), key, folder)
        rows[part_of(passage.text)].append(tokens_of(passage.hidden, ids, found, network))
    if not all(rows.values()):
        raise PlaygroundError(
            "`texts` must hold at least about twenty prompts with replies, so that each split has some."
        )
    return {part: Tokens.joined(members) for part, members in rows.items()}


def tokens_of(hidden: Tensor, labels: Tensor, found: Curves, network: TempNet) -> Tokens:
    """States [N, H] and labels [N] with their curves, and the inputs too unless the network is in the full form."""
    inputs = hidden[:, :0] if network.full else folded_inputs(hidden, found.top, found.length)
    return Tokens(hidden, labels, found, inputs)


def fit(
    train: Tokens, validation: Tokens, logits: Unembed, blank: TempNet, recipe: Recipe
) -> tuple[TempNet, int, float]:
    """The network of the epoch with the lowest validation loss, that epoch, and that loss in nats, as `blank` is built."""
    noise = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = copy.deepcopy(blank)
        for layer in (network.first, network.second):
            layer.reset_parameters()
        centre, scale = moments(train, logits, network)
        optimiser = torch.optim.Adam(network.parameters(), recipe.learning_rate)
        best = Best(network)
        for epoch in (bar := tqdm(range(1, recipe.epochs + 1), desc="tempnet", mininterval=5)):
            network.train()
            for rows in torch.randperm(len(train), generator=noise).split(recipe.batch):
                tau = predicted(network, train, rows, logits, centre, scale)
                loss = train.curves.at(rows).loss(tau, recipe.target_nats).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            found = mean_loss(network, validation, logits, centre, scale, recipe.target_nats)
            bar.set_postfix(validation=f"{found:.4f}")
            if best.waited(epoch, found) >= recipe.patience:
                break
    best.restore()
    unscaled(network.first, centre, scale)
    return network.eval(), best.epoch, best.loss


def predicted(network: TempNet, tokens: Tokens, rows: Tensor, logits: Unembed, centre: Tensor, scale: Tensor) -> Tensor:
    """The temperatures [N] of some tokens, by a network whose first layer reads standardised inputs."""
    return network.temperature(network.first((_inputs(network, tokens, rows, logits) - centre) / scale))


@torch.no_grad()
def mean_loss(network: TempNet, tokens: Tokens, logits: Unembed, centre: Tensor, scale: Tensor, target: float) -> float:
    """The mean loss in nats, without dropout."""
    network.eval()
    chunks = torch.arange(len(tokens)).split(2048)
    taus = [predicted(network, tokens, rows, logits, centre, scale) for rows in chunks]
    return float(tokens.curves.loss(torch.cat(taus), target).mean())


@torch.no_grad()
def moments(tokens: Tokens, logits: Unembed, network: TempNet) -> tuple[Tensor, Tensor]:
    """Mean and spread [D] of the first layer's inputs."""
    total = square = torch.zeros((), dtype=torch.float64)
    for rows in torch.arange(len(tokens)).split(CHUNK):
        x = _inputs(network, tokens, rows, logits).double()
        total, square = total + x.sum(0), square + x.square().sum(0)
    centre = total / len(tokens)
    spread = (square / len(tokens) - centre.square()).clamp_min(0).sqrt()
    return centre.float(), spread.clamp_min(1e-6 * float(spread.max())).float()


@torch.no_grad()
def unscaled(layer: nn.Linear, centre: Tensor, scale: Tensor) -> None:
    """Makes a layer that read (x − centre) / scale read x, in place; the same function."""
    weight = layer.weight.double() / scale.double()
    layer.bias.copy_(layer.bias.double() - weight @ centre.double())
    layer.weight.copy_(weight)


def part_of(text: corpus.Text) -> str:
    """Which of PARTS a text belongs to; validation texts are taken from the training side by hash."""
    validates = hashlib.sha256(f"validation\n{text.prompt}".encode()).digest()[0] % VALIDATION_ONE_IN == 0
    return "held out" if text.held_out else "validation" if validates else "train"


def _inputs(network: TempNet, tokens: Tokens, rows: Tensor, logits: Unembed) -> Tensor:
    if not network.full:
        return tokens.inputs[rows]
    states = tokens.hidden[rows]
    with torch.no_grad():
        return network.inputs(logits(states), states)
