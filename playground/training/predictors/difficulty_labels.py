"""How hard prompts with known answers are for a model: replies sampled to each, their accuracy and entropy, a class by rule.

Ten replies to every prompt at one temperature, several prompts in one batch. The accuracy is the share of them that hold
an accepted answer; the entropy is that of softmax(logits) at T = 1 in nats, averaged over the tokens of a reply, then over
replies. Accuracy >= .85 and entropy <= .35: normal. Accuracy < .60: hard. Everything else: easy, which DiffAdapt
(arXiv 2510.19669) reads as solved, but with more wavering than it needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from playground.analysis.measures import contains_answer
from playground.decoding.distribution import Distribution
from playground.decoding.sampling import random_stream, uniform
from playground.decoding.trace import canonical_json

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
    logits = torch.cat([output.logits.expand(n, -1) for output in outputs])  # [R, V], R = prompts × samples
    temperature = torch.full((len(logits),), recipe.temperature, dtype=torch.float64)
    ids: list[list[int]] = [[] for _ in logits]
    entropies: list[list[float]] = [[] for _ in logits]
    for _ in range(recipe.max_tokens):
        now = Distribution(logits)
        spread = now.entropy.tolist()
        tokens = now.tempered(temperature).draw(torch.cat([uniform(stream, n) for stream in streams]))
        for row, token in enumerate(tokens.tolist()):
            if not ids[row] or ids[row][-1] not in model.end_ids:
                ids[row].append(token)
                entropies[row].append(spread[row])
        if all(reply[-1] in model.end_ids for reply in ids):
            break
        logits = model.step(tokens, cache).logits
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
