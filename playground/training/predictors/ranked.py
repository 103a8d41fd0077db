"""Next-token logits in rank order, small enough to keep for every token of a corpus.

The 256 largest logits stand for themselves; the rest of the vocabulary is gathered into 64 bins of equal width, each with
its number of tokens and their mean logit. A bin's width is about a third of a nat, and tokens share a bin only far below
the best one, so that a loss over tempered, ranked probabilities is recomputed in microseconds instead of milliseconds.
Where a reference token lies in a bin, its own logit is kept.

Shapes: N tokens, V vocabulary, H hidden, S = 256 + 64 places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.auto_deco import soft_top_p_mask
from models.tempnet import RULED_OUT
from playground.decoding.sampling import entropy
from playground.training.cache import cached

TOP, BINS = 256, 64


@dataclass(frozen=True)
class Ranked:
    """Tokens of reference text as the frozen model sees them; logits are relative to the largest.

    hidden    [N, H] the state that produced the logits
    values    [N, S] logits in falling order, counts [N, S] how many tokens each stands for
    place     [N] where the reference token stands in that order, gold [N] its own logit
    entropy   [N] nats, of softmax(logits) at T = 1
    text      [N] the number of the text it belongs to
    """

    hidden: Tensor
    values: Tensor
    counts: Tensor
    place: Tensor
    gold: Tensor
    entropy: Tensor
    text: Tensor

    def __len__(self) -> int:
        return len(self.place)

    def at(self, index: Tensor) -> Ranked:
        """The tokens at these places (or where this mask is true)."""
        return Ranked(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Sequence[Ranked]) -> Ranked:
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def ranked(hidden: Tensor, logits: Tensor, reply_ids: Sequence[int], text: int) -> Ranked:
    """One text's states [N, H] and logits [N, V] with its reference tokens."""
    return _whole(hidden, text, _packed(logits, reply_ids))


def cached_ranked(
    hidden: Tensor, logits: Callable[[Tensor], Tensor], reply_ids: Sequence[int], text: int, key: str, folder: Path
) -> Ranked:
    """The same, kept in `folder` under the sha256 of `key`, so that training again takes seconds."""
    return _whole(hidden, text, cached(folder, key, lambda: _packed(logits(hidden), reply_ids)))


def _packed(logits: Tensor, reply_ids: Sequence[int]) -> dict[str, Tensor]:
    """What a text's tokens need beside their states; `bins` [N, 64] counts the tokens of each bin."""
    lowered = logits.float() - logits.float().amax(-1, keepdim=True)  # [N, V]
    entropies = entropy(torch.log_softmax(lowered, -1))
    best = lowered.topk(min(TOP, lowered.shape[-1]), dim=-1)
    gone = lowered <= -RULED_OUT  # by the model: they belong to no bin
    rest = torch.ones_like(lowered).scatter_(-1, best.indices, 0.0).masked_fill_(gone, 0.0)
    floor = lowered.masked_fill(gone, 0.0).amin(-1, keepdim=True)
    ceiling = torch.maximum(best.values[:, -1:], floor)
    lowered = torch.maximum(lowered, floor)
    width = ((ceiling - floor) / BINS).clamp_min(1e-9)
    bins = ((ceiling - lowered) / width).long().clamp_(0, BINS - 1)  # [N, V]
    counts = torch.zeros(len(lowered), BINS).scatter_add_(-1, bins, rest)
    means = torch.zeros(len(lowered), BINS).scatter_add_(-1, bins, lowered * rest) / counts.clamp_min(1.0)
    ids = torch.tensor(list(reply_ids))[:, None]
    hit = best.indices == ids
    place = torch.where(hit.any(-1), hit.float().argmax(-1), best.values.shape[-1] + bins.gather(-1, ids)[:, 0])
    return {
        "values": torch.cat([best.values, means], -1),
        "bins": counts,
        "place": place,
        "gold": lowered.gather(-1, ids)[:, 0].clone(),
        "entropy": entropies,
    }


def _whole(hidden: Tensor, text: int, packed: Mapping[str, Tensor]) -> Ranked:
    values, bins = packed["values"], packed["bins"]
    counts = torch.cat([torch.ones(len(bins), values.shape[-1] - BINS), bins], -1)
    number = torch.full((len(values),), text)
    return Ranked(hidden.float(), values, counts, packed["place"], packed["gold"], packed["entropy"], number)


def losses(tokens: Ranked, temperature: Tensor, top_p: Tensor | None) -> Tensor:
    """−ln of each reference token's probability [N] at `temperature` [N] under the soft mask of `top_p` [N]; None is no mask."""
    heat = temperature[:, None]
    scores = tokens.values / heat + tokens.counts.log()  # [N, S]
    norm = torch.logsumexp(scores, -1)
    loss = norm - tokens.gold / temperature
    if top_p is None:
        return loss
    probs = (scores - norm[:, None]).exp()  # a place's whole mass
    beyond = probs * (1 - 1 / tokens.counts.clamp_min(1.0)) / 2  # a bin's mask is that of its middle
    mask = soft_top_p_mask(probs.cumsum(-1) - beyond, top_p)
    kept = (probs * mask).sum(-1)
    return loss - mask.gather(-1, tokens.place[:, None])[:, 0].log() + kept.log()
