"""`bootstrap`: heads for any causal language model, from nothing but the model: no votes, no data set, no network.

1. The model's own replies to the project's prompts, greedy and at T = 0.7, are the texts for `tempnet` and `auto-deco`
   (training/predictors/tempnet.py, training/predictors/auto_deco.py), unless reference texts are given.
2. Candidates at temperatures drawn from the uniform grid, per reply and per token, are labelled by verifiable rewards:
   accepted answers in facts, fewer repeats in stories (training/labels/candidates.py). `train` makes a head of each level.

What the texts are matters to `auto-deco` alone: its loss on replies that were drawn at T has its optimum at T, so from the
model's own replies it learns little but how they were drawn. For `tempnet` they only say where the model is asked.

A run that was cut short goes on where it stopped; a head that is there already, of the same weights and sizes, is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from models.checkpoints import Checkpoint, describe, read
from models.errors import ModelError
from models.language_model import LanguageModel
from models.meta import Base
from playground.decoding.trace import canonical_json
from playground.errors import PlaygroundError
from playground.training import train
from playground.training.labels import candidates
from playground.training.labels.lanes import prompt_records, replies, request_for
from playground.training.predictors import auto_deco, auto_deco_card, tempnet, tempnet_card

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"
KINDS = ("tempnet", "auto-deco", "adaptive-sequence", "adaptive-token")
OWN = "the model's own replies to the project's prompts, greedy and at T = 0.7"
OWN_POLICIES = ("fixed:temperature=0", "fixed:temperature=0.7")


@dataclass(frozen=True)
class Sizes:
    """How much is drawn: prompts of each kind (facts, stories), tokens of a reply, candidates and pairs of a prompt."""

    prompts: int = 24
    max_tokens: int = 64
    candidates: int = 12
    pairs: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Made:
    """The heads, in the order of KINDS, and a sentence for each that could not be made."""

    heads: tuple[Checkpoint, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """What every head is made from."""

    model: LanguageModel
    folder: Path
    features: Path
    sizes: Sizes
    texts: Path | None
    command: str

    @property
    def work(self) -> Path:
        """The folder of texts and candidates, beside the heads; files of another model or size have other names."""
        drawn = canonical_json([self.model.name, self.model.revision, self.model.precision, asdict(self.sizes)])
        return self.folder / "bootstrap" / _short(drawn)

    @property
    def settings(self) -> dict[str, Any]:
        """What is written into the meta, and what a head must have been made with to be kept."""
        return {**asdict(self.sizes), "texts": OWN if self.texts is None else self.texts.name}


def run(
    model: LanguageModel,
    folder: Path,
    features_folder: Path,
    sizes: Sizes | None = None,
    texts: Path | None = None,
    command: str = "",
    only: Sequence[str] = KINDS,
) -> Made:
    """Makes the heads of `only` in `folder`. Raises PlaygroundError where not one could be made; deterministic by the seed."""
    this = Run(model, folder, features_folder, sizes or Sizes(), texts, command)
    made, left_out = [], []
    for number, kind in enumerate(only, start=1):
        name = f"{kind}.{slug(model.name)}"
        head = kept(this, name)
        print(f"[{number}/{len(only)}] {name}{': kept' if head else ''}", file=sys.stderr, flush=True)
        try:
            made.append(head or MAKERS[kind](this, name))
        except PlaygroundError as error:
            left_out.append(f"{name} was left out: {error}")
    if not made:
        raise PlaygroundError(" ".join(left_out))
    return Made(tuple(made), tuple(left_out))


def kept(this: Run, name: str) -> Checkpoint | None:
    """The head of this name where it was made of the same weights with the same sizes."""
    try:
        head = read(this.folder, name)
    except ModelError:
        return None
    base = Base(this.model.name, this.model.revision, this.model.hidden_size, this.model.vocab_size)
    same = head.refusal(base) is None and head.meta.metrics.get("bootstrap") == this.settings
    return head if same else None


def slug(name: str) -> str:
    """A model's name as the end of a checkpoint's name: "org/Model-1B" → "model-1b"."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.rsplit("/", 1)[-1].lower()).strip("-.")[:40] or "model"


def own_replies(this: Run) -> Path:
    """The model's own replies as a file that `corpus.read` reads; a file that was cut short is continued."""
    path = this.work / "texts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = path.read_text(encoding="utf-8") if path.is_file() else ""
    whole = found[: found.rfind("\n") + 1]
    lines = whole.splitlines()
    done = len(lines) // len(OWN_POLICIES)
    sizes = this.sizes
    records = [r for name in ("facts", "stories") for r in prompt_records(_file(name), "train", sizes.prompts)]
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines[: done * len(OWN_POLICIES)])
        for record in tqdm(records[done:], initial=done, total=len(records), desc="own replies"):
            request = request_for(record, sizes.seed, sizes.max_tokens)
            for trace in replies(this.model, request, OWN_POLICIES, {}):
                file.write(json.dumps({"prompt": record["prompt"], "reply": trace.text}) + "\n")
            file.flush()
    return path


def candidates_of(this: Run, level: str) -> list[Path]:
    """The preference files of a level: pairs of candidates, labelled by the rewards."""
    sizes, files = this.sizes, []
    for name, reward, longest in (("facts", "contains-answer", 24), ("stories", "fewer-repeats", sizes.max_tokens)):
        out = this.work / f"{level}-{name}.jsonl"
        candidates.run(
            this.model,
            _file(name),
            reward,
            out,
            level=level,
            n=sizes.candidates,
            pairs=sizes.pairs,
            limit=sizes.prompts,
            max_tokens=min(longest, sizes.max_tokens),
            seed=sizes.seed,
        )
        files.append(out)
    return files


def _label_free(trainer: Any, card: Any) -> Callable[[Run, str], Checkpoint]:
    def make(this: Run, name: str) -> Checkpoint:
        texts = this.texts or own_replies(this)
        recipe = replace(trainer.Recipe(), seed=this.sizes.seed)
        head = trainer.run(this.model, texts, name, this.folder, this.features, recipe, command=this.command)
        return _described(this, head, card.text)

    return make


def _adaptive(level: str) -> Callable[[Run, str], Checkpoint]:
    def make(this: Run, name: str) -> Checkpoint:
        data = candidates_of(this, level)
        recipe = train.recipe_for(level, seed=this.sizes.seed)
        head = train.run(this.model, data, level, name, this.folder, this.features, recipe, command=this.command)
        return _described(this, head, lambda *_: head.card)

    return make


def _described(this: Run, head: Checkpoint, card: Callable[..., str]) -> Checkpoint:
    """The head with a meta that says what it was made from, and the card of that."""
    meta = replace(head.meta, metrics={**head.meta.metrics, "bootstrap": this.settings})
    return describe(head, meta, card(head.name, meta))


MAKERS: Mapping[str, Callable[[Run, str], Checkpoint]] = {
    "tempnet": _label_free(tempnet, tempnet_card),
    "auto-deco": _label_free(auto_deco, auto_deco_card),
    "adaptive-sequence": _adaptive("sequence"),
    "adaptive-token": _adaptive("token"),
}


def _file(name: str) -> Path:
    return PROMPTS / f"{name}.json"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
