"""What every precision changes: KL to float32, greedy agreement and likelihood on text that float32 wrote.

The reference is the plain transformers model in float32. It writes replies to the gallery's prompts, sampled at T = 1 and
greedy; the gallery's documents, written by people, are the third text. It scores them in one pass each; every precision
reads the same tokens as it decodes: the prompt first, the replies to it side by side, one token a step. At every token

    KL(p ‖ q) = Σ p (ln p − ln q)      p float32, q the precision, full vocabulary, nats
    agreement: argmax p = argmax q     ΔNLL = |mean −ln q(token) − mean −ln p(token)|
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value
from models.errors import ModelError
from models.language_model import LanguageModel
from models.loading import load_language_model
from models.precision import OFFERED
from playground.config import Settings
from playground.gallery import GalleryPrompt, load_gallery

TITLE = "KL to float32, greedy agreement and likelihood of every precision on text that float32 wrote"
REFERENCE = "float32"
SAMPLED, GREEDY, DOCUMENT = "sampled at T = 1", "greedy", "documents"


@dataclass(frozen=True)
class Text:
    """Replies [N, T] to one prompt, all of one length, and the kind of each."""

    prompt_ids: list[int]
    replies: Tensor
    kinds: tuple[str, ...]


@dataclass
class Compared:
    """What is measured at every token of one precision and one kind of text."""

    kl: list[float] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    nll: list[float] = field(default_factory=list)
    nll_reference: list[float] = field(default_factory=list)

    def add(self, p: Tensor, q: Tensor, tokens: Tensor) -> None:
        """The tokens [T] under log-probabilities [T, V] of the reference and of the precision."""
        self.kl += (p.exp() * (p - q)).sum(-1).tolist()
        self.same += (p.argmax(-1) == q.argmax(-1)).tolist()
        self.nll += (-q.gather(-1, tokens[:, None])[:, 0]).tolist()
        self.nll_reference += (-p.gather(-1, tokens[:, None])[:, 0]).tolist()

    def row(self) -> dict[str, Value]:
        return {
            "tokens": len(self.kl),
            "KL mean": fmean(self.kl),
            "KL max": max(self.kl),
            "greedy agreement": fmean(self.same),
            "|ΔNLL|": abs(fmean(self.nll) - fmean(self.nll_reference)),
            "NLL float32": fmean(self.nll_reference),
        }


def run(asked: Asked) -> Result:
    least, length = asked.size(2000, 200), asked.size(48, 16)
    reference = _loaded(asked.settings, REFERENCE)
    models, notes = _offered(asked.settings)
    compared: dict[tuple[str, str], Compared] = {}
    done = 0
    for text in _texts(reference, length, asked.size(6, 1)):
        expected = _scored(reference, text)
        for name, model in models.items():
            found = _logprobs(model, text)
            for place, kind in enumerate(text.kinds):
                for wanted in (kind, "all"):
                    side = compared.setdefault((name, wanted), Compared())
                    side.add(expected[place], found[place], text.replies[place])
        done += text.replies.numel()
        if done >= least:
            break
        asked.progress(f"{done} tokens")
    asked.progress(f"{done} tokens read by {len(models)} precisions")
    rows = [{"precision": name, "text": kind, **side.row()} for (name, kind), side in sorted(compared.items())]
    columns = {"precision": "", "text": "", "tokens": "d", "KL mean": ".2e", "KL max": ".2e"}
    columns |= {"greedy agreement": ".2%", "|ΔNLL|": ".1e", "NLL float32": ".2f"}
    how = conditions("transformers", model=reference, tokens=done)
    how["precision"] = f"each beside {REFERENCE} of transformers"
    return Result("precision", how, [Table("Fidelity to float32", columns, rows)], notes)


def _offered(settings: Settings) -> tuple[dict[str, LanguageModel], list[str]]:
    """A model of every precision that can be had here, and a sentence for every one that cannot."""
    models, notes = {}, []
    for name in OFFERED:
        if name in ("auto", REFERENCE):
            continue
        try:
            models[name] = _loaded(settings, name)
        except ModelError as error:
            notes.append(str(error))
    chosen = load_language_model(settings.model, settings.revision, "auto", settings.device, settings.cache_folder)
    notes.append(f"`auto` takes {chosen.precision} here. {chosen.precision_reason}")
    return models, notes


def _loaded(settings: Settings, precision: str) -> LanguageModel:
    return load_language_model(settings.model, settings.revision, precision, settings.device, settings.cache_folder)


def _texts(model: LanguageModel, length: int, documents: int) -> Iterator[Text]:
    """Some documents, then replies of `length` tokens prompt by prompt, again and again with other draws."""
    prompts = load_gallery()
    for source in [prompt.source for prompt in prompts if prompt.source][:documents]:
        ids = model.encode_text(source)
        yield Text(model.encode_chat("Write one paragraph.", None, ""), torch.tensor([ids]), (DOCUMENT,))
    noise = torch.Generator().manual_seed(0)
    while True:
        for prompt in _in_turn_by_family(prompts):
            ids = model.encode_chat(prompt.prompt, prompt.system, prompt.prefill)
            yield Text(ids, _replies(model, ids, length, noise), (GREEDY, SAMPLED, SAMPLED))


def _in_turn_by_family(prompts: Sequence[GalleryPrompt]) -> list[GalleryPrompt]:
    """One prompt of every family, then the next of every family, so that a short run meets them all."""
    families: dict[str, list[GalleryPrompt]] = {}
    for prompt in prompts:
        families.setdefault(prompt.family, []).append(prompt)
    longest = max(map(len, families.values()))
    return [members[i] for i in range(longest) for members in families.values() if i < len(members)]


def _replies(model: LanguageModel, ids: list[int], length: int, noise: torch.Generator) -> Tensor:
    """One greedy reply and two sampled at T = 1, [3, length]; the end token is a token like any other."""
    output, cache = model.prefill(ids)
    cache = model.expand(cache, model.rows_for(3))
    logits, drawn = output.logits.expand(3, -1), []
    for _ in range(length):
        sampled = torch.multinomial(logits[1:].softmax(-1), 1, generator=noise)[:, 0]
        drawn.append(torch.cat([logits[:1].argmax(-1), sampled]))
        logits = model.step(_padded(drawn[-1], model), cache).logits[:3]
    return torch.stack(drawn, dim=1)


def _logprobs(model: LanguageModel, text: Text) -> Tensor:
    """ln q of every position, [N, T, V] float64: row t is what reply token t would be drawn from."""
    count = len(text.kinds)
    output, cache = model.prefill(text.prompt_ids)
    cache = model.expand(cache, model.rows_for(count))
    logits = [output.logits.expand(count, -1)]
    for tokens in text.replies.T[:-1]:
        logits.append(model.step(_padded(tokens, model), cache).logits[:count])
    return torch.stack(logits, dim=1).double().log_softmax(-1)


def _scored(model: LanguageModel, text: Text) -> Tensor:
    """As `_logprobs`, by one teacher-forced pass a reply."""
    scores = [model.score(text.prompt_ids, reply.tolist()) for reply in text.replies]
    return torch.stack(scores).double().log_softmax(-1)


def _padded(tokens: Tensor, model: LanguageModel) -> Tensor:
    """Tokens [N] filled to the rows that the model steps with."""
    rows = model.rows_for(len(tokens))
    return torch.cat([tokens, tokens[:1].expand(rows - len(tokens))])
