"""The next token's distribution, one a row: computed once, then asked by the policies, the filters, the draw and the record.

    y = (h − max h) · log₂e / T,   w = 2^y for every token that may be drawn, else 0,   Z = Σ w
    p = w / Z,   ln p = y · ln 2 − ln Z,   H = ln Z − ln 2 · Σ w·y / Z

The passes over [B, V] run in the precision of the logits (float32 from a model). Sums are taken in blocks of 256 tokens
and over the blocks in float64, so that a row's figures are the same bits alone, beside other rows and on any number of
threads (a plain sum splits a single row among threads). The best token's weight is 1; it is left out of the block sums
and added in float64, so that ln Z and H keep their digits where the model is all but sure.

Weights below 2^-125 (the smallest of float32) count as 0: exponents beyond would be computed ten times slower.
Shapes: B rows, V vocabulary, P the vocabulary padded to whole blocks, n blocks.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from playground.decoding.sampling import located

BLOCK = 256
LN2 = math.log(2)
FEW = 256  # tokens of a row that are found among its blocks' peaks; more are found by selection over the whole row
LEAST = -1e30  # a logit of −inf beside the padding, which is never a token


class Distribution:
    """softmax(logits / T) over the tokens that may be drawn; at first T = 1 and all of them.

    size    V
    logits  [B, V] what it was made from
    top     [B] the largest logit, NaN where a logit is
    best    [B] the most probable token, the first of equal ones; its weight is 1
    """

    def __init__(self, logits: Tensor) -> None:
        """From logits [B, V]."""
        self.logits, self.size = logits, logits.shape[-1]
        if self.size % BLOCK:
            logits = pad(logits.clamp(min=LEAST), (0, -self.size % BLOCK), value=-math.inf)
        logits = logits.contiguous()  # [B, P]
        self._peaks = blocks(logits).amax(-1)  # [B, n]
        self.top, place = self._peaks.max(-1)
        self._lowered = logits - self.top[:, None]  # [B, P]
        inside = blocks(self._lowered)[torch.arange(len(place)), place].argmax(-1)
        self.best = place * BLOCK + inside
        self._inverse = torch.ones(len(place), dtype=torch.float64)  # 1 / T
        self._shift: Tensor | None = None  # [B] what the best token of all lies above the best that may be drawn
        self._masked = False
        self._exponents = self._heated(self._inverse)
        self._weights = self._exponents.exp2()
        self._sums = self._summed()

    def __len__(self) -> int:
        return len(self.best)

    def rows(self, start: int, stop: int) -> Distribution:
        """These rows alone, without a copy."""
        if (start, stop) == (0, len(self)):
            return self
        some = Distribution.__new__(Distribution)
        some.size, some._masked = self.size, self._masked
        for name in ("logits", "top", "best", "_peaks", "_lowered", "_inverse", "_exponents", "_weights"):
            setattr(some, name, getattr(self, name)[start:stop])
        some._shift = None if self._shift is None else self._shift[start:stop]
        some._sums = tuple(values[start:stop] for values in self._sums)
        return some

    @property
    def lowered(self) -> Tensor:
        """Logits [B, V] minus their maximum, whatever the temperature."""
        return self._lowered[:, : self.size]

    @property
    def padded(self) -> Tensor:
        """`lowered` [B, P], −inf in the padding."""
        return self._lowered

    @property
    def exponents(self) -> Tensor:
        """y [B, P]; far below 0 for weights that count as 0."""
        return self._exponents

    @property
    def weights(self) -> Tensor:
        """w [B, P], the best token's 1, in the precision of the logits."""
        return self._weights

    @property
    def log_total(self) -> Tensor:
        """ln Z [B], float64."""
        return self._sums[1]

    @property
    def entropy(self) -> Tensor:
        """[B] in nats, float64."""
        return self._sums[2]

    @cached_property
    def varentropy(self) -> Tensor:
        """The variance [B] of the surprise, in nats², float64; at T it is also dH / d ln T."""
        mean = (self.log_total - self.entropy) / LN2  # of y
        off = self._exponents - mean.to(self._exponents.dtype)[:, None]
        return row_sums(off.square_().mul_(self._weights)) * torch.exp(-self.log_total) * LN2**2

    @property
    def probs(self) -> Tensor:
        """[B, V] in float64."""
        return self._weights[:, : self.size].double() * torch.exp(-self.log_total)[:, None]

    @property
    def logprobs(self) -> Tensor:
        """[B, V] in float64; −inf for tokens that may not be drawn."""
        values = self.lowered.double() * self._inverse[:, None] - (self.log_total + self._offset)[:, None]
        return values.masked_fill(self._weights[:, : self.size] == 0, -math.inf)

    def logprob(self, tokens: Tensor) -> Tensor:
        """ln p [B] of one token [B] a row that may be drawn, float64."""
        lowered = self._lowered.gather(-1, tokens[:, None])[:, 0].double()
        return lowered * self._inverse - (self.log_total + self._offset)

    def prob(self, tokens: Tensor) -> Tensor:
        """p [B, k] of some tokens [B, k] of every row, float64."""
        return self._weights.gather(-1, tokens).double() * torch.exp(-self.log_total)[:, None]

    def largest(self, count: int) -> tuple[Tensor, Tensor]:
        """The `count` tokens [B, count] that are the most probable, best first, and their `lowered` logits.

        They lie in the `count` blocks with the highest peaks.
        """
        count = min(count, self.size)
        if self._masked:
            found = self.lowered.masked_fill(self._weights[:, : self.size] == 0, -math.inf).topk(count)
            return found.indices, found.values
        chosen = self._peaks.topk(min(count, self._peaks.shape[-1])).indices  # [B, m]
        candidates = blocks(self._lowered).gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
        found = candidates.topk(count)
        return chosen.gather(1, found.indices // BLOCK) * BLOCK + found.indices % BLOCK, found.values

    def kth(self, k: Tensor) -> Tensor:
        """The `lowered` logit [B] of each row's k-th most probable token, for k [B] from 1 to V; −inf where k is V."""
        most = int(torch.where(k < self.size, k, 1).max())
        if most <= FEW:
            found = self.largest(most)[1].gather(-1, (k - 1).clamp(max=most - 1)[:, None])[:, 0]
        else:
            open_ = (
                self.lowered.masked_fill(self._weights[:, : self.size] == 0, -math.inf)
                if self._masked
                else self.lowered
            )
            found = torch.stack(
                [row.kthvalue(self.size + 1 - n).values for row, n in zip(open_, k.tolist(), strict=True)]
            )
        return torch.where(k < self.size, found, -math.inf)

    def bound(self, p: Tensor) -> Tensor:
        """The `lowered` logit [B] of a token of probability p [B], float64."""
        return (p.log() + self.log_total + self._offset) / self._inverse

    def at_least(self, bound: Tensor) -> Tensor:
        """1 for every token whose `lowered` logit is at least bound [B], else 0: [B, V], for `keeping`."""
        return at_least(self._lowered, bound)[:, : self.size]

    def tempered(self, temperature: Tensor) -> Distribution:
        """The distribution of all tokens at T [B] in float64; T = 0 is all mass on the best token: greedy."""
        assert not self._masked, "the temperature comes before any mask"
        heats = temperature.tolist()
        if all(heat == 1 for heat in heats):
            return self
        inverse = (1 / temperature).clamp(max=torch.finfo(torch.float64).max)
        heated = self._child(inverse)
        heated._exponents = self._heated(inverse)
        heated._weights = heated._exponents.exp2()
        if 0 in heats:
            warm = (temperature > 0).to(heated._weights.dtype)[:, None]
            heated._weights.mul_(warm).scatter_(-1, self.best[:, None], 1.0)
        return heated

    def keeping(self, mask: Tensor) -> Distribution:
        """Renormalised over the tokens where mask [B, V] is 1; where that leaves none, over the best token alone."""
        mask = mask.to(self._weights.dtype)
        if mask.shape[-1] < self._weights.shape[-1]:
            mask = pad(mask, (0, self._weights.shape[-1] - mask.shape[-1]))
        kept = self._child(self._inverse)
        kept._exponents, kept._weights, kept._shift = self._exponents, self._weights * mask, self._shift
        kept._masked = True
        lost = kept._weights.gather(-1, self.best[:, None]) == 0  # [B, 1]
        if lost.any():
            kept._crown(lost)
        return kept

    def draw(self, u: Tensor) -> Tensor:
        """The token [B] at which the cumulative sum of p first exceeds u [B], never one of probability 0."""
        parts = self._sums[0].scatter_add(-1, (self.best // BLOCK)[:, None], torch.ones_like(u)[:, None])
        place, rest = located(parts, u)  # in these blocks
        inside = blocks(self._weights)[torch.arange(len(self)), place].double()  # [B, 256]
        token, _ = located(inside, rest / inside.sum(-1))
        return place * BLOCK + token

    @cached_property
    def _sums(self) -> tuple[Tensor, ...]:
        """The sums of the weights by blocks, without the best token's [B, n]; ln Z and H [B]. All float64."""
        return self._summed()

    def _summed(self) -> tuple[Tensor, ...]:
        best = self.best[:, None]
        self._weights.scatter_(-1, best, 0.0)
        parts = blocks(self._weights).sum(-1).double()
        mean = row_sums(self._weights * self._exponents)
        self._weights.scatter_(-1, best, 1.0)
        log_total = parts.sum(-1).log1p()
        return parts, log_total, (log_total - LN2 * mean * torch.exp(-log_total)).clamp(min=0.0)

    @property
    def _offset(self) -> Tensor | float:
        return 0.0 if self._shift is None else self._shift * self._inverse

    def _heated(self, inverse: Tensor) -> Tensor:
        """The exponents y [B, P] at 1 / T [B]; far below 0 for weights that count as 0."""
        limits = torch.finfo(self._lowered.dtype)
        scale = (inverse / LN2).clamp(max=limits.max).to(self._lowered.dtype)
        floor = math.log2(limits.tiny) + 1
        return torch.threshold_(self._lowered * scale[:, None], floor, 8 * floor)

    def _child(self, inverse: Tensor) -> Distribution:
        """Another distribution over the same logits; its exponents and weights are still to come."""
        child = Distribution.__new__(Distribution)
        child.logits, child.size, child.top, child.best = self.logits, self.size, self.top, self.best
        child._shift, child._masked = None, False
        child._peaks, child._lowered, child._inverse = self._peaks, self._lowered, inverse
        return child

    def _crown(self, lost: Tensor) -> None:
        """Makes the most probable of what is left the best token of the rows that lost theirs [B, 1]."""
        empty = lost & (self._weights.amax(-1, keepdim=True) == 0)
        alone = torch.zeros_like(self._weights).scatter_(-1, self.best[:, None], 1.0)
        left = torch.where(empty, alone, self._weights)
        self.best = torch.where(lost[:, 0], left.argmax(-1), self.best)
        self._shift = self._lowered.gather(-1, self.best[:, None])[:, 0].double()
        raised = self._exponents - self._exponents.gather(-1, self.best[:, None])
        self._exponents = torch.where(lost, raised, self._exponents)
        self._weights = torch.where(lost, self._exponents.exp2() * (left > 0), left)


def blocks(values: Tensor) -> Tensor:
    """[B, P] → [B, n, 256], the same numbers."""
    return values.view(len(values), -1, BLOCK)


def row_sums(values: Tensor) -> Tensor:
    """[B, V] → [B] in float64, the same bits for any number of rows and threads."""
    short = -values.shape[-1] % BLOCK
    return blocks(pad(values, (0, short)) if short else values).sum(-1).double().sum(-1)


def at_least(values: Tensor, bound: Tensor) -> Tensor:
    """1 where values [B, P] are at least bound [B], else 0, in their own precision (three times as fast as a bool)."""
    return torch.ge(values, bound.to(values.dtype)[:, None], out=torch.empty_like(values))
