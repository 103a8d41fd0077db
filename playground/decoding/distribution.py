"""The next token's distribution, one a row: computed once, then asked by the policies, the filters, the draw and the record.

    y = (h − max h) · log₂e / T,   w = 2^y for every token that may be drawn, else 0,   Z = Σ w
    p = w / Z,   ln p = y · ln 2 − ln Z,   H = ln Z − ln 2 · Σ w·y / Z

The passes over the vocabulary are compiled (playground/decoding/kernels.py) and run when a figure is first asked for: a
row's figures are the same bits alone, beside other rows and on any number of threads. Weights below the smallest number
of the logits' precision (2^-125 in float32) count as 0. Shapes: B rows, V vocabulary, n blocks of 256 tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from playground.decoding import kernels
from playground.decoding.kernels import BLOCK, LN2, MOST64

FEW = 256  # tokens of a row that are found among its blocks' peaks; more are found by selection over the whole row

Array = np.ndarray[Any, Any]


class Distribution:
    """softmax(logits / T) over the tokens that may be drawn; at first T = 1 and all of them.

    size      V
    logits    [B, V] what it was made from, float32 or float64
    """

    def __init__(self, logits: Tensor) -> None:
        """From logits [B, V]."""
        self.logits, self.size = logits.contiguous(), logits.shape[-1]
        self._x: Array = self.logits.numpy()
        rows, blocks = len(self._x), -(-self.size // BLOCK)
        self._peaks = np.empty((rows, blocks), self._x.dtype)
        self._tops, self._bests = np.empty(rows), np.empty(rows, np.int64)
        self._inverses = np.ones(rows)  # 1 / T; infinity is greedy
        self._mask = np.empty((0, 0), self._x.dtype)  # [B, V] 1 for tokens that may be drawn; empty: all may
        self._uncut: Distribution | None = None  # what the first mask was laid on
        kernels.survey(self._x, self._peaks, self._tops, self._bests)

    def __len__(self) -> int:
        return len(self._x)

    def rows(self, start: int, stop: int) -> Distribution:
        """These rows alone, without a copy."""
        if (start, stop) == (0, len(self)):
            return self
        some = self._child()
        some._uncut = self._uncut and self._uncut.rows(start, stop)
        for name in ("logits", "_x", "_peaks", "_tops", "_bests", "_inverses", "_mask"):
            setattr(some, name, getattr(self, name)[start:stop])
        some._sums = (self._sums[0][start:stop], self._sums[1][start:stop])
        return some

    @property
    def tops(self) -> list[float]:
        """The largest logit of every row among those that may be drawn, NaN where a logit is."""
        found: list[float] = self._tops.tolist()
        return found

    @property
    def top(self) -> Tensor:
        """The same, [B] in the precision of the logits."""
        return torch.from_numpy(self._tops).to(self.logits.dtype)

    @property
    def best(self) -> Tensor:
        """The most probable token [B], the first of equal ones."""
        return torch.from_numpy(self._bests)

    @cached_property
    def possible(self) -> list[int]:
        """How many tokens of every row the model has not ruled out, whatever a mask leaves of them."""
        counts = np.empty(len(self), np.int64)
        kernels.count_possible(self._x, self._tops, counts)
        found: list[int] = counts.tolist()
        return found

    @property
    def total(self) -> Tensor:
        """Z [B], float64."""
        return torch.from_numpy(self._figures[:, 0])

    @property
    def log_total(self) -> Tensor:
        """ln Z [B], float64."""
        return torch.from_numpy(self._figures[:, 1])

    @property
    def entropy(self) -> Tensor:
        """[B] in nats, float64."""
        return torch.from_numpy(self._figures[:, 2])

    @property
    def entropies(self) -> list[float]:
        """The same as numbers."""
        found: list[float] = self._figures[:, 2].tolist()
        return found

    @cached_property
    def varentropy(self) -> Tensor:
        """The variance [B] of the surprise, in nats², float64; at T it is also dH / d ln T."""
        found = np.empty(len(self))
        kernels.spread(self._x, self._mask, self._tops, self._inverses, self._figures, found)
        return torch.from_numpy(found)

    @cached_property
    def weights(self) -> Tensor:
        """w [B, V], the best token's 1, in the precision of the logits."""
        found = np.empty_like(self._x)
        kernels.weigh(self._x, self._mask, self._tops, self._bests, self._inverses, found)
        return torch.from_numpy(found)

    @property
    def probs(self) -> Tensor:
        """[B, V] in float64."""
        return self.weights.double() / self.total[:, None]

    @property
    def logprobs(self) -> Tensor:
        """[B, V] in float64; −inf for tokens that may not be drawn."""
        values = (self.logits.double() - self._column(self._tops)).mul_(self._column(self._finite))
        return values.sub_(self.log_total[:, None]).masked_fill_(self.weights == 0, -math.inf)

    def logits_of(self, tokens: Tensor) -> list[float]:
        """The logit of one token [B] a row."""
        return [float(row[token]) for row, token in zip(self._x, tokens.tolist(), strict=True)]

    def logprobs_of(self, logits: Sequence[float]) -> list[float]:
        """ln p of one token a row that may be drawn, from its logit."""
        rows = zip(logits, self._tops.tolist(), self._finite.tolist(), self._figures[:, 1].tolist(), strict=True)
        return [(logit - top) * inverse - log_total for logit, top, inverse, log_total in rows]

    def logprob(self, tokens: Tensor) -> Tensor:
        """ln p [B] of one token [B] a row that may be drawn, float64."""
        return column(self.logprobs_of(self.logits_of(tokens)))

    def prob(self, tokens: Tensor) -> Tensor:
        """p [B, k] of some tokens [B, k] of every row, float64."""
        found = np.empty(tokens.shape)
        kernels.chances(
            self._x, self._mask, self._tops, self._bests, self._inverses, self._figures, tokens.numpy(), found
        )
        return torch.from_numpy(found)

    def exponents(self) -> Tensor:
        """y [B, V], in the precision of the logits, finite; new, for whoever asks to write in."""
        floor = 8 * (kernels.FLOOR32 if self.logits.dtype == torch.float32 else kernels.FLOOR64)
        scale = self._column(self._finite).div(LN2).clamp_(max=torch.finfo(self.logits.dtype).max)
        raised = self.logits - self._column(self._tops).to(self.logits.dtype)
        return raised.mul_(scale.to(self.logits.dtype)).clamp_(min=floor)

    def largest(self, count: int) -> tuple[Tensor, Tensor]:
        """The `count` most probable tokens [B, count], best first, and their logits; −inf for those that may not be drawn."""
        count = min(count, self.size)
        ids, values = np.empty((len(self), count), np.int64), np.empty((len(self), count), self._x.dtype)
        kernels.largest(self._x, self._mask, self._peaks, ids, values)
        return torch.from_numpy(ids), torch.from_numpy(values)

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
        return torch.from_numpy(self._tops) + (log_p + self.log_total) / torch.from_numpy(self._finite)

    def at_least(self, bound: Tensor) -> Tensor:
        """1 for every token whose logit is at least bound [B], else 0: [B, V], for `keeping`."""
        return at_least(self.logits, bound)

    def tempered(self, temperature: Tensor) -> Distribution:
        """The distribution of all tokens at T [B] in float64; T = 0 is all mass on the best token: greedy."""
        assert not self._mask.size, "the temperature comes before any mask"
        heats = temperature.tolist()
        if all(heat == 1 for heat in heats):
            return self
        heated = self._child()
        heated._inverses = np.array([min(1 / heat, MOST64) if heat else math.inf for heat in heats])
        return heated

    def keeping(self, mask: Tensor) -> Distribution:
        """Renormalised over the tokens where mask [B, V] is 1; where that leaves none, over the best token alone."""
        kept = self._child()
        kept._uncut = self if self._uncut is None else self._uncut
        kept._mask = mask.to(self.logits.dtype, copy=True).contiguous().numpy()
        if self._mask.size:
            kept._mask *= self._mask
        kept._tops, kept._bests = self._tops.copy(), self._bests.copy()
        kernels.crown(self._x, kept._mask, self._inverses, kept._tops, kept._bests)
        return kept

    def kept(self, rows: Sequence[int]) -> list[tuple[float, int]]:
        """What masks have left of some rows: the share of the mass that was there before them, and the number of tokens."""
        counts = np.empty(len(rows), np.int64)
        kernels.count_open(self._x, self._mask, self._tops, self._inverses, np.array(rows, np.int64), counts)
        whole = self if self._uncut is None else self._uncut
        fallen = (whole._tops - self._tops) * self._finite
        shares = np.exp(np.minimum(self._figures[:, 1] - whole._figures[:, 1] - fallen, 0.0))
        return list(zip(shares[list(rows)].tolist(), counts.tolist(), strict=True))

    def draw(self, u: Tensor) -> Tensor:
        """The token [B] at which the cumulative sum of p first exceeds u [B], never one of probability 0."""
        tokens = np.empty(len(self), np.int64)
        parts = self._sums[0]
        kernels.draw(self._x, self._mask, self._tops, self._bests, self._inverses, parts, u.numpy(), tokens)
        return torch.from_numpy(tokens)

    @cached_property
    def _sums(self) -> tuple[Array, Array]:
        """The sums of the weights by blocks [B, n]; Z, ln Z and H [B, 3]."""
        parts, figures = np.empty(self._peaks.shape), np.empty((len(self), 3))
        kernels.add_up(self._x, self._mask, self._tops, self._bests, self._inverses, parts, figures)
        return parts, figures

    @property
    def _figures(self) -> Array:
        return self._sums[1]

    @property
    def _finite(self) -> Array:
        """1 / T [B], the largest number where T = 0."""
        return np.minimum(self._inverses, MOST64)

    def _column(self, values: Array) -> Tensor:
        return torch.from_numpy(values)[:, None]

    def _open_logits(self) -> Tensor:
        """Logits [B, V], −inf for tokens that may not be drawn."""
        return self.logits.masked_fill(torch.from_numpy(self._mask) == 0, -math.inf) if self._mask.size else self.logits

    def _child(self) -> Distribution:
        """Another distribution over the same logits, at the same T; its figures are still to come."""
        child = Distribution.__new__(Distribution)
        for name in ("logits", "size", "_x", "_peaks", "_tops", "_bests", "_inverses", "_mask", "_uncut"):
            setattr(child, name, getattr(self, name))
        return child


def column(values: Sequence[float]) -> Tensor:
    """A number a row, [B] float64."""
    return torch.tensor(values, dtype=torch.float64)


def row_sums(values: Tensor) -> Tensor:
    """[B, V] → [B] in float64, the same bits for any number of rows and threads."""
    return torch.from_numpy(kernels.row_sums(values.contiguous().numpy()))


def at_least(values: Tensor, bound: Tensor) -> Tensor:
    """1 where values [B, V] are at least bound [B], else 0, in their own precision (three times as fast as a bool)."""
    return torch.ge(values, bound.to(values.dtype)[:, None], out=torch.empty_like(values))
