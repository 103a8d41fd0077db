"""`difficulty`: prompts with known answers → a probe that tells easy, normal and hard from the prompt's last state.

1. Ten replies to every prompt at one temperature, in one batch. The accuracy is the share of them that hold an accepted
   answer; the entropy is that of softmax(logits) at T = 1 in nats, averaged over the tokens of a reply, then over replies.
2. Accuracy >= .85 and entropy <= .35: normal. Accuracy < .60: hard. Everything else: easy, which the paper reads as
   solved, but with more wavering than it needs.
3. A probe (models/difficulty_probe.py) learns the label from the state after the plain prompt: cross-entropy, Adam, the
   epoch with the lowest loss on the dev prompts.

Departures from DiffAdapt (arXiv 2510.19669): questions of fact instead of mathematics, replies of a few dozen tokens, and
the entropy in nats over the whole reply, since what we could read of the paper names neither unit nor span.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import correlation, fmean, median
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from models.checkpoints import Base, Checkpoint, Meta, save
from models.difficulty_probe import DifficultyProbe
from playground.analysis.measures import contains_answer
from playground.decoding.decoders.difficulty_router import CLASSES, PRESETS
from playground.decoding.sampling import entropy, invert_cdf, random_stream, tempered, uniform
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.training import difficulty_card
from playground.training.lanes import SPLITS, prompt_records
from playground.training.train import commit

SURE, CALM, FAILING = 0.85, 0.35, 0.60


@dataclass(frozen=True)
class Recipe:
    """How the labels are drawn and the probe is fitted."""

    samples: int = 10
    temperature: float = 0.8
    max_tokens: int = 24
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.2
    epochs: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Observed:
    """One prompt: its split, the state [H] after it, what its samples showed and the class that follows."""

    split: str
    state: Tensor
    accuracy: float
    entropy: float

    @property
    def label(self) -> str:
        return label(self.accuracy, self.entropy)


def label(accuracy: float, entropy: float) -> str:
    """The class of a prompt from its share of right replies and its mean token entropy in nats."""
    if accuracy < FAILING:
        return "hard"
    return "normal" if accuracy >= SURE and entropy <= CALM else "easy"


def run(
    model: Any,
    prompts: Path,
    name: str,
    folder: Path,
    cache: Path,
    recipe: Recipe | None = None,
    limit: int | None = None,
    command: str = "",
) -> Checkpoint:
    """Labels the prompts, fits the probe and writes its three files to `folder`. Deterministic by the recipe's seed."""
    recipe = recipe or Recipe()
    records = [{**r, "split": split} for split in SPLITS for r in prompt_records(prompts, split, limit)]
    observed = observe(model, records, recipe, cache)
    probe, epoch = fit(observed, recipe)
    meta = Meta(
        kind="difficulty-probe",
        base=Base(model.name, model.revision, model.hidden_size, model.vocab_size),
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


def observe(model: Any, records: Sequence[Mapping[str, Any]], recipe: Recipe, cache: Path) -> list[Observed]:
    """What the samples of every prompt show. They are drawn once and kept in `cache`; a run that was cut short goes on."""
    sampling = [recipe.samples, recipe.temperature, recipe.max_tokens, recipe.seed]
    key = canonical_json([model.name, model.revision, model.precision, *sampling])
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.jsonl"
    done = _read(path)
    wanted = [record for record in records if _place(record) not in done]
    with path.open("a", encoding="utf-8") as file:
        for start in tqdm(range(0, len(wanted), recipe.batch), desc="difficulty"):
            batch = wanted[start : start + recipe.batch]
            for record, (accuracy, spread) in zip(batch, sampled(model, batch, recipe), strict=True):
                done[_place(record)] = (accuracy, spread)
                file.write("\n" + canonical_json([_place(record), accuracy, spread]))
            file.flush()
    return [Observed(r["split"], _read_prompt(model, r)[0].hidden[0], *done[_place(r)]) for r in records]


def sampled(model: Any, records: Sequence[Mapping[str, Any]], recipe: Recipe) -> list[tuple[float, float]]:
    """The accuracy and the entropy of every prompt, all replies to all of them in one batch."""
    n = recipe.samples
    outputs, caches = zip(*(_read_prompt(model, record) for record in records), strict=True)
    streams = [random_stream(recipe.seed, record["id"], record["prompt"]) for record in records]
    cache = model.join(caches, [n] * len(records))
    logits = torch.cat([output.logits.expand(n, -1) for output in outputs]).double()  # [R, V], R = prompts × samples
    temperature = torch.full((len(logits),), recipe.temperature, dtype=torch.float64)
    ids: list[list[int]] = [[] for _ in logits]
    entropies: list[list[float]] = [[] for _ in logits]
    for _ in range(recipe.max_tokens):
        spread = entropy(torch.log_softmax(logits, -1)).tolist()
        tokens = invert_cdf(tempered(logits, temperature).exp(), torch.cat([uniform(stream, n) for stream in streams]))
        for row, token in enumerate(tokens.tolist()):
            if not ids[row] or ids[row][-1] not in model.end_ids:
                ids[row].append(token)
                entropies[row].append(spread[row])
        if all(reply[-1] in model.end_ids for reply in ids):
            break
        logits = model.step(tokens, cache).logits.double()
    found = []
    for k, record in enumerate(records):
        rows = range(k * n, (k + 1) * n)
        right = fmean(contains_answer(model.decode(ids[row]), record["answers"]) for row in rows)
        found.append((right, fmean(fmean(entropies[row]) for row in rows)))
    return found


def _read_prompt(model: Any, record: Mapping[str, Any]) -> Any:
    """The output at the plain prompt's last token, and the cache."""
    return model.prefill(model.encode_chat(record["prompt"], record.get("system"), record.get("prefill", "")))


def _place(record: Mapping[str, Any]) -> str:
    """What a prompt's cached figures depend on."""
    return canonical_json([record["id"], record["prompt"], list(record["answers"])])


def _read(path: Path) -> dict[str, tuple[float, float]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entries = [json.loads(line) for line in lines if line.endswith("]")]  # a run may be cut short within a line
    return {place: (right, mean) for place, right, mean in entries}


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
        best, kept = (float("inf"), 0), copy.deepcopy(probe.state_dict())
        for epoch in range(1, recipe.epochs + 1):
            probe.train()
            optimiser.zero_grad()
            torch.nn.functional.nll_loss(probe(hidden), labels).backward()
            optimiser.step()
            probe.eval()
            with torch.no_grad():
                loss = float(torch.nn.functional.nll_loss(probe(dev_hidden), dev_labels))
            if loss < best[0]:
                best, kept = (loss, epoch), copy.deepcopy(probe.state_dict())
    probe.load_state_dict(kept)
    return probe.eval(), best[1]


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
