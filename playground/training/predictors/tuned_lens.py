"""`tuned-lens`: reference texts → the map from the state after layer k to the final state (models/tuned_lens.py).

    min over A, b of  mean_t KL(p_t ‖ q_t),   p_t = softmax(W_U s_t),  q_t = softmax(W_U norm(A h_t + b))

(Belrose et al. 2023, arXiv 2303.08112.) The model is frozen; its own predictions are the labels.

Departures from the paper
1. Adam from a least-squares start instead of SGD with momentum from the identity: minutes on a CPU.
2. The map is learned over whitened states and folded back afterwards; the result is the same affine map.
3. A step takes the KL over the tokens predicted most on average and as many random others, whose logits are raised by
   ln(number of others / number drawn) so that they stand for all of them (sampled softmax). It is measured over all.

Shapes: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from models.checkpoints import Checkpoint, save
from models.language_model import LanguageModel
from models.meta import Base, Meta
from models.tuned_lens import TunedLens, first_layers, last_norm, unembed, with_lens
from playground.errors import PlaygroundError
from playground.training.features import cached_states
from playground.training.predictors import corpus, tuned_lens_card
from playground.training.train import commit

CHUNK = 256  # tokens whose logits are held at once
AVERAGED = 4096  # tokens whose predictions make the one without context


@dataclass(frozen=True)
class LensRecipe:
    """Tokens in a batch, Adam's first learning rate (it falls to 0 along a cosine), passes over the texts, seed.

    A step's KL counts `vocabulary` tokens, half of them the most predicted ones; a vocabulary no larger is taken whole.
    """

    batch: int = 256
    learning_rate: float = 3e-4
    epochs: int = 3
    vocabulary: int = 8192
    seed: int = 0


@dataclass(frozen=True)
class States:
    """The same tokens after layer k and after the last norm: [N, H] each."""

    cut: Tensor
    final: Tensor


@dataclass(frozen=True)
class Whitened:
    """An affine change of coordinates to mean 0 and covariance 1: z = (h − mean) root."""

    mean: Tensor
    root: Tensor

    @classmethod
    def of(cls, states: Tensor) -> Whitened:
        mean = states.double().mean(0)
        centred = states.double() - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(states))
        return cls(mean, vectors * values.clamp(min=values.max() * 1e-9).rsqrt())

    def of_map(self, weight: Tensor, bias: Tensor) -> TunedLens:
        """The lens that does to h what weight, bias do to z."""
        lens = TunedLens(len(self.mean))
        whole = weight.double() @ self.root.T
        with torch.no_grad():
            lens.weight.copy_(whole)
            lens.bias.copy_(bias.double() - whole @ self.mean)
        return lens


def run(
    model: LanguageModel,
    texts: Path,
    layers: int,
    name: str,
    folder: Path,
    features_folder: Path,
    recipe: LensRecipe | None = None,
    tokens: int | None = None,
    command: str = "",
) -> Checkpoint:
    """Fits a lens after `layers` layers and writes its three files to `folder`. Deterministic by the recipe's seed."""
    recipe = recipe or LensRecipe()
    read, digest = corpus.read(texts)
    random.Random(recipe.seed).shuffle(read)  # so that `tokens` takes some of every kind of text
    training, held = read_states(model, read, layers, features_folder, tokens)
    lens = fit(model, training, recipe)
    lenses = {"lens": lens, "least squares": start(model, training), "logit lens": TunedLens(model.hidden_size)}
    small = with_lens(model, layers, lens, name, "")
    metrics = {
        "training": {"recipe": asdict(recipe), "tokens": len(training.cut)},
        "held_out": measure(model, lenses, training, held),
        "layers": layers,
        "of_layers": model.depth,
        "parameters": small.parameters,
        "large_parameters": model.parameters,
    }
    meta = Meta(
        kind="tuned-lens",
        base=Base.of(model),
        grid=(),
        width=0,
        loss="kl",
        parent=None,
        data_sha256=digest,
        metrics=metrics,
        temperature_histogram=(),
        command=command,
        commit=commit(),
        settings={"layers": layers},
    )
    return save(folder, name, lens, meta, tuned_lens_card.text(name, meta))


def read_states(
    model: LanguageModel, texts: Sequence[corpus.Text], layers: int, cache: Path, tokens: int | None = None
) -> tuple[States, States]:
    """The states of the texts to train on and of those held out."""
    cut = first_layers(model, layers, nn.Identity(), f"{model.name} after layer {layers}", model.revision)
    sides: dict[bool, list[tuple[Tensor, Tensor]]] = {False: [], True: []}
    for passage in corpus.passages(model, texts, cache, tokens):
        after = cached_states(cut, passage.prompt_ids, passage.reply_ids, cache)
        sides[passage.text.held_out].append((after, passage.hidden))
    if not sides[False] or not sides[True]:
        raise PlaygroundError("`texts` must hold prompts of both splits that the model can read; add more of them.")
    split = {held: States(*(torch.cat(column) for column in zip(*rows, strict=True))) for held, rows in sides.items()}
    return split[False], split[True]


def least_squares(model: LanguageModel, states: States, white: Whitened) -> tuple[Tensor, Tensor]:
    """The map of whitened states nearest to what the norm makes the final states of; float64 [H, H] and [H].

    The norm's own weight is divided out; its length it restores itself.
    """
    scale = getattr(last_norm(model), "weight", torch.ones(()))
    target = (states.final / scale).double()
    z = (states.cut.double() - white.mean) @ white.root
    bias = target.mean(0)
    weight = torch.linalg.lstsq(z, target - bias, driver="gelsd").solution.T
    return weight, bias


def start(model: LanguageModel, states: States) -> TunedLens:
    """The lens that `fit` starts from."""
    white = Whitened.of(states.cut)
    return white.of_map(*least_squares(model, states, white)).requires_grad_(False)


def fit(model: LanguageModel, states: States, recipe: LensRecipe) -> TunedLens:
    """The lens with the lowest mean KL over `states`, as far as the recipe goes."""
    white = Whitened.of(states.cut)
    weight, bias = (nn.Parameter(x.float()) for x in least_squares(model, states, white))
    inputs = ((states.cut.double() - white.mean) @ white.root).float()
    norm, noise = last_norm(model), torch.Generator().manual_seed(recipe.seed)
    steps = recipe.epochs * math.ceil(len(inputs) / recipe.batch)
    optimiser = torch.optim.Adam([weight, bias], lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order = mean_prediction(model, states).argsort(descending=True)
    for rows in tqdm(_batches(len(inputs), recipe, noise), total=steps, desc="tuned lens", mininterval=5):
        some, raised = _sampled(order, recipe.vocabulary, noise)
        target = torch.log_softmax(unembed(model, states.final[rows], some) + raised, dim=-1)
        guess = norm(nn.functional.linear(inputs[rows], weight, bias))
        guess = torch.log_softmax(unembed(model, guess, some) + raised, dim=-1)
        loss = nn.functional.kl_div(guess, target, log_target=True, reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return white.of_map(weight.detach(), bias.detach()).requires_grad_(False)


def _sampled(order: Tensor, count: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` tokens, the first half of them the first of `order`, and what raises each one's logit."""
    if count >= len(order):
        return order, torch.zeros(len(order))
    half = count // 2
    others = order[half:][torch.randperm(len(order) - half, generator=noise)[: count - half]]
    raised = torch.zeros(count)
    raised[half:] = math.log((len(order) - half) / (count - half))
    return torch.cat([order[:half], others]), raised


def _batches(count: int, recipe: LensRecipe, noise: torch.Generator) -> Iterator[Tensor]:
    for _ in range(recipe.epochs):
        yield from torch.randperm(count, generator=noise).split(recipe.batch)


@torch.inference_mode()
def measure(
    model: LanguageModel, lenses: dict[str, TunedLens], training: States, held: States
) -> dict[str, dict[str, Any]]:
    """Held-out figures of each lens and of the best prediction without context, by name.

    kl               mean KL(p_large ‖ p_small), nats
    agreement        share of tokens whose most probable next token is the large model's
    entropy_bits     mean entropy of the prediction, with the large model's beside it under "large model"
    correlation      of its entropy with the large model's, token by token
    """
    predictions: dict[str, Callable[[Tensor], Tensor]] = {
        **{name: partial(_through, model, lens) for name, lens in lenses.items()},
        "unigram": partial(_regardless, mean_prediction(model, training).log()),
    }
    found: dict[str, list[list[Tensor]]] = {name: [] for name in predictions}
    entropies = []
    for rows in torch.arange(len(held.cut)).split(CHUNK):
        target = torch.log_softmax(unembed(model, held.final[rows]), dim=-1)
        entropies.append(_bits(target))
        for name, predict in predictions.items():
            guess = predict(held.cut[rows])
            kl = (target.exp() * (target - guess)).sum(-1)
            found[name].append([kl, (guess.argmax(-1) == target.argmax(-1)).float(), _bits(guess)])
    large = torch.cat(entropies)
    figures = {name: _figures(large, *(torch.cat(x) for x in zip(*rows, strict=True))) for name, rows in found.items()}
    return {**figures, "large model": {"tokens": len(large), "entropy_bits": float(large.mean())}}


def _through(model: LanguageModel, lens: TunedLens, states: Tensor) -> Tensor:
    """Log-probabilities [N, V] of the small model from its states [N, H] after its last layer."""
    return torch.log_softmax(unembed(model, last_norm(model)(lens(states))), dim=-1)


def _regardless(logprobs: Tensor, states: Tensor) -> Tensor:
    return logprobs.expand(len(states), -1)


@torch.inference_mode()
def mean_prediction(model: LanguageModel, states: States) -> Tensor:
    """The large model's mean prediction [V]: the best one that knows no context."""
    total = torch.zeros(model.vocab_size, dtype=torch.float64)
    for rows in torch.arange(len(states.final))[:AVERAGED].split(CHUNK):
        total += torch.softmax(unembed(model, states.final[rows]), dim=-1).double().sum(0)
    return (total / total.sum()).float()


def _bits(logprobs: Tensor) -> Tensor:
    return -(logprobs.exp() * logprobs).sum(-1) / math.log(2)


def _figures(large: Tensor, kl: Tensor, agreement: Tensor, bits: Tensor) -> dict[str, Any]:
    together = torch.corrcoef(torch.stack([bits.double(), large.double()]))[0, 1]
    return {
        "kl": float(kl.mean()),
        "agreement": float(agreement.mean()),
        "entropy_bits": float(bits.mean()),
        "correlation": float(together) if torch.isfinite(together) else None,
    }
