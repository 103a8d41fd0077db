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

from playground.decoding.sampling import BELOW_ONE

BLOCK = 256
LN2 = math.log(2)
FEW = 256  # tokens of a row that are found among its blocks' peaks; more are found by selection over the whole row
FLOORS = {dtype: math.log2(torch.finfo(dtype).tiny) + 1 for dtype in (torch.float32, torch.float64)}
LEAST = -1e30  # a logit of −inf beside the padding, which is never a token


class Distribution:
    """softmax(logits / T) over the tokens that may be drawn; at first T = 1 and all of them.

    size    V
    logits  [B, V] what it was made from
    padded  [B, P] the same, −inf in the padding
    top     [B] the largest logit, NaN where a logit is
    best    [B] the most probable token, the first of equal ones
    weights [B, P] w, the best token's 1, in the precision of the logits
    """

    def __init__(self, logits: Tensor) -> None:
        """From logits [B, V]."""
        self.logits, self.size = logits, logits.shape[-1]
        if self.size % BLOCK:
            logits = pad(logits.clamp(min=LEAST), (0, -self.size % BLOCK), value=-math.inf)
        self.padded = logits.contiguous()
        self._peaks = blocks(self.padded).amax(-1)  # [B, n]
        self.top, home = self._peaks.max(-1)
        self.best = home * BLOCK + _block(self.padded, home).argmax(-1)
        self._highest = self.top[:, None]  # [B, 1] the best token's logit
        self._inverse: Tensor | None = None  # [B, 1] 1 / T in float64, where it is not 1
        self._scale: Tensor | float = 1 / LN2  # [B, 1] log₂e / T
        self._masked = False
        exponents = self.exponents()
        self.weights = exponents.exp2()
        self._products = exponents.mul_(self.weights)  # [B, P] w·y
        self._sums = self._summed()

    def __len__(self) -> int:
        return len(self.best)

    def rows(self, start: int, stop: int) -> Distribution:
        """These rows alone, without a copy."""
        if (start, stop) == (0, len(self)):
            return self
        some = Distribution.__new__(Distribution)
        some.size, some._masked = self.size, self._masked
        for name in ("logits", "padded", "top", "best", "weights", "_peaks", "_highest", "_products"):
            setattr(some, name, getattr(self, name)[start:stop])
        some._inverse = None if self._inverse is None else self._inverse[start:stop]
        some._scale = self._scale[start:stop] if isinstance(self._scale, Tensor) else self._scale
        some._sums = tuple(values[start:stop] for values in self._sums)
        return some

    @property
    def total(self) -> Tensor:
        """Z [B], float64."""
        return self._sums[1]

    @property
    def log_total(self) -> Tensor:
        """ln Z [B], float64."""
        return self._sums[2]

    @property
    def entropy(self) -> Tensor:
        """[B] in nats, float64."""
        return self._sums[3]

    @cached_property
    def varentropy(self) -> Tensor:
        """The variance [B] of the surprise, in nats², float64; at T it is also dH / d ln T."""
        mean = (self.log_total - self.entropy) / LN2  # of y
        off = self.exponents().sub_(mean.to(self.weights.dtype)[:, None])
        return row_sums(off.square_().mul_(self.weights)) / self.total * LN2**2

    @property
    def probs(self) -> Tensor:
        """[B, V] in float64."""
        return self.weights[:, : self.size].double() / self.total[:, None]

    @property
    def logprobs(self) -> Tensor:
        """[B, V] in float64; −inf for tokens that may not be drawn."""
        return self._logprobs(self.logits).masked_fill(self.weights[:, : self.size] == 0, -math.inf)

    def logprob(self, tokens: Tensor) -> Tensor:
        """ln p [B] of one token [B] a row that may be drawn, float64."""
        return self._logprobs(self.padded.gather(-1, tokens[:, None]))[:, 0]

    def prob(self, tokens: Tensor) -> Tensor:
        """p [B, k] of some tokens [B, k] of every row, float64."""
        return self.weights.gather(-1, tokens) / self.total[:, None]

    def exponents(self) -> Tensor:
        """y [B, P], far below 0 for weights that count as 0; computed anew, for whoever asks to write in."""
        return floored((self.padded - self._highest).mul_(self._scale))

    def largest(self, count: int) -> tuple[Tensor, Tensor]:
        """The `count` most probable tokens [B, count], best first, and their logits.

        They lie in the `count` blocks with the highest peaks.
        """
        count = min(count, self.size)
        if self._masked:
            found = self._open_logits().topk(count)
            return found.indices, found.values
        chosen = self._peaks.topk(min(count, self._peaks.shape[-1])).indices  # [B, m]
        tokens = (chosen[:, :, None] * BLOCK + torch.arange(BLOCK)).flatten(1)  # [B, m · 256]
        found = self.padded.gather(-1, tokens).topk(count)
        return tokens.gather(-1, found.indices), found.values

    def kth(self, k: Tensor) -> Tensor:
        """The logit [B] of each row's k-th most probable token, for k [B] from 1 to V; −inf where k is V."""
        most = int(torch.where(k < self.size, k, 1).max())
        if most <= FEW:
            found = self.largest(most)[1].gather(-1, (k - 1).clamp(max=most - 1)[:, None])[:, 0]
        else:
            rows = zip(self._open_logits(), k.tolist(), strict=True)
            found = torch.stack([row.kthvalue(self.size + 1 - n).values for row, n in rows])
        return torch.where(k < self.size, found, -math.inf)

    def bound(self, log_p: Tensor) -> Tensor:
        """The logit [B] of a token of log-probability log_p [B], float64."""
        above = (log_p + self.log_total)[:, None]
        return (self._highest + (above if self._inverse is None else above / self._inverse))[:, 0]

    def at_least(self, bound: Tensor) -> Tensor:
        """1 for every token whose logit is at least bound [B], else 0: [B, V], for `keeping`."""
        return at_least(self.padded, bound)[:, : self.size]

    def tempered(self, temperature: Tensor) -> Distribution:
        """The distribution of all tokens at T [B] in float64; T = 0 is all mass on the best token: greedy."""
        assert not self._masked, "the temperature comes before any mask"
        heats = temperature.tolist()
        if all(heat == 1 for heat in heats):
            return self
        heated = self._child()
        heated._inverse = (1.0 / temperature[:, None]).clamp_(max=torch.finfo(torch.float64).max)
        dtype = self.weights.dtype
        heated._scale = (heated._inverse / LN2).clamp_(max=torch.finfo(dtype).max).to(dtype)
        exponents = heated.exponents()
        heated.weights = exponents.exp2()
        if 0 in heats:
            warm = (temperature > 0).to(dtype)[:, None]
            heated.weights.mul_(warm).scatter_(-1, self.best[:, None], 1.0)
        heated._products = exponents.mul_(heated.weights)
        return heated

    def keeping(self, mask: Tensor) -> Distribution:
        """Renormalised over the tokens where mask [B, V] is 1; where that leaves none, over the best token alone."""
        mask = mask.to(self.weights.dtype)
        if mask.shape[-1] < self.padded.shape[-1]:
            mask = pad(mask, (0, self.padded.shape[-1] - mask.shape[-1]))
        kept = self._child()
        kept._masked = True
        kept.weights, kept._products = self.weights * mask, self._products * mask
        lost = kept.weights.gather(-1, self.best[:, None]) == 0  # [B, 1]
        if lost.any():
            kept._crown(lost)
        return kept

    def draw(self, u: Tensor) -> Tensor:
        """The token [B] at which the cumulative sum of p first exceeds u [B], never one of probability 0."""
        parts = self._sums[0].scatter_add(-1, (self.best // BLOCK)[:, None], torch.ones(len(self), 1, dtype=u.dtype))
        ends = parts.cumsum(-1)  # [B, n]
        wanted = u.clamp(max=BELOW_ONE)[:, None] * ends[:, -1:]  # [B, 1]
        place = torch.searchsorted(ends, wanted, right=True)
        passed = ends.gather(-1, place) - parts.gather(-1, place)
        inside = _block(self.weights, place[:, 0]).cumsum(-1, dtype=u.dtype)  # [B, 256]
        rest = torch.minimum((wanted - passed).clamp_(min=0.0), inside[:, -1:] * BELOW_ONE)
        return (place * BLOCK + torch.searchsorted(inside, rest, right=True))[:, 0]

    @cached_property
    def _sums(self) -> tuple[Tensor, ...]:
        """The sums of the weights by blocks, without the best token's [B, n]; Z, ln Z and H [B]. All float64."""
        return self._summed()

    def _summed(self) -> tuple[Tensor, ...]:
        best = self.best[:, None]
        self.weights.scatter_(-1, best, 0.0)
        parts = blocks(self.weights).sum(-1).double()
        self.weights.scatter_(-1, best, 1.0)
        rest = parts.sum(-1)
        total, log_total = rest + 1, rest.log1p()
        entropy = torch.addcdiv(log_total, row_sums(self._products), total, value=-LN2)
        return parts, total, log_total, entropy.clamp_(min=0.0)

    def _logprobs(self, logits: Tensor) -> Tensor:
        """ln p [B, k] in float64 of tokens with these logits [B, k]."""
        values = logits.double() - self._highest
        if self._inverse is not None:
            values *= self._inverse
        return values.sub_(self.log_total[:, None])

    def _open_logits(self) -> Tensor:
        """Logits [B, V], −inf for tokens that may not be drawn."""
        return self.logits.masked_fill(self.weights[:, : self.size] == 0, -math.inf) if self._masked else self.logits

    def _child(self) -> Distribution:
        """Another distribution over the same logits, at the same T; its weights are still to come."""
        child = Distribution.__new__(Distribution)
        for name in ("logits", "size", "padded", "top", "best", "_peaks", "_highest", "_inverse", "_scale", "_masked"):
            setattr(child, name, getattr(self, name))
        return child

    def _crown(self, lost: Tensor) -> None:
        """Makes the most probable of what is left the best token of the rows that lost theirs [B, 1]."""
        logits = self.padded.masked_fill(self.weights == 0, -math.inf)
        empty = lost & (logits.amax(-1, keepdim=True) == -math.inf)
        best = torch.where(lost & ~empty, logits.argmax(-1, keepdim=True), self.best[:, None])
        left = (self.weights > 0).scatter_(-1, best, True)
        self.best, self._highest = best[:, 0], self.padded.gather(-1, best)
        exponents = self.exponents()
        self.weights = exponents.exp2() * left
        self._products = exponents.mul_(self.weights)


def blocks(values: Tensor) -> Tensor:
    """[B, P] → [B, n, 256], the same numbers."""
    return values.view(len(values), -1, BLOCK)


def row_sums(values: Tensor) -> Tensor:
    """[B, V] → [B] in float64, the same bits for any number of rows and threads."""
    short = -values.shape[-1] % BLOCK
    return blocks(pad(values, (0, short)) if short else values).sum(-1).sum(-1, dtype=torch.float64)


def floored(exponents: Tensor) -> Tensor:
    """Exponents of weights that count as 0 moved far below 0, in place."""
    floor = FLOORS[exponents.dtype]
    return torch.threshold_(exponents, floor, 8 * floor)


def at_least(values: Tensor, bound: Tensor) -> Tensor:
    """1 where values [B, P] are at least bound [B], else 0, in their own precision (three times as fast as a bool)."""
    return torch.ge(values, bound.to(values.dtype)[:, None], out=torch.empty_like(values))


def _block(values: Tensor, place: Tensor) -> Tensor:
    """The block [B, 256] of values [B, P] at each row's place [B]."""
    return blocks(values).gather(1, place[:, None, None].expand(-1, 1, BLOCK))[:, 0]
