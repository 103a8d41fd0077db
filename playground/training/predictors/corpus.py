"""Reference texts for predictors that learn without votes: prompts with replies, and the states that would have chosen them.

One JSON object a line: {"prompt", "reply"}, with "cluster" where several lines share an article or a template. A cluster
stands wholly in one split, chosen by its hash: one in five is held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from models import strict_json
from models.errors import ModelError
from models.language_model import LanguageModel
from playground.errors import PlaygroundError
from playground.training.features import cached_states

LONGEST = 384  # reply tokens that are read of one text
HELD_OUT_ONE_IN = 5


@dataclass(frozen=True)
class Text:
    """A prompt and a reference reply; `held_out` texts are never trained on."""

    prompt: str
    reply: str
    held_out: bool


@dataclass(frozen=True)
class Passage:
    """One text as the model reads it: the reply's token ids [T] and the states [T, H] that would choose them."""

    text: Text
    prompt_ids: list[int]
    reply_ids: list[int]
    hidden: Tensor


def read(path: Path) -> tuple[list[Text], str]:
    """The texts of a file and its sha256. Raises PlaygroundError for a file that holds none, or texts of one split only."""
    try:
        raw = path.read_bytes()
        records = [strict_json.loads(line) for line in raw.decode("utf-8").splitlines() if line.strip()]
        texts = [Text(r["prompt"], r["reply"], _held_out(r.get("cluster", r["prompt"]))) for r in records if r["reply"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PlaygroundError(f"`texts` must be a file of JSON lines with prompt and reply; {path} is not.") from error
    if len({text.held_out for text in texts}) < 2:
        raise PlaygroundError(f"`texts` must hold at least about ten prompts with replies, {path} has {len(texts)}.")
    return texts, hashlib.sha256(raw).hexdigest()


def passages(model: LanguageModel, texts: Sequence[Text], cache: Path, tokens: int | None = None) -> Iterator[Passage]:
    """The texts as the model reads them, until `tokens` reply tokens are read; states come from `cache` where it has them.

    A prompt longer than the model reads is left out.
    """
    read_tokens = 0
    for text in tqdm(texts, desc="reading texts"):
        if tokens is not None and read_tokens >= tokens:
            return
        try:
            prompt_ids = model.encode_chat(text.prompt)
        except ModelError:
            continue
        reply_ids = [*_reply_ids(model, text, prompt_ids), model.end_id][:LONGEST]
        room = model.context_length - len(prompt_ids)
        reply_ids = reply_ids[:room]
        read_tokens += len(reply_ids)
        yield Passage(text, prompt_ids, reply_ids, cached_states(model, prompt_ids, reply_ids, cache))


def _reply_ids(model: LanguageModel, text: Text, prompt_ids: list[int]) -> list[int]:
    """The reply as it reads behind its prompt, where that leaves the prompt's tokens as they are."""
    try:
        whole = model.encode_chat(text.prompt, None, text.reply)
    except ModelError:  # the two are longer than the model reads
        whole = []
    behind = whole[: len(prompt_ids)] == prompt_ids
    return whole[len(prompt_ids) :] if behind else model.encode_text(text.reply)


def _held_out(cluster: str) -> bool:
    return hashlib.sha256(cluster.encode()).digest()[0] % HELD_OUT_ONE_IN == 0
