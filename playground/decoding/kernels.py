"""The passes over a whole vocabulary, compiled (Numba): a few microseconds a row, one thread, no memory but what is given.

A step of the model streams its weights through the processor's caches, so whatever comes after begins with fetching its own
code. One compiled loop fetches a few lines of it where a chain of tensor operations fetches thousands; that, not the
arithmetic, is what a step's figures cost (LOG.md, 2026-11-21).

Every row is computed by itself and in one order, so its bits do not depend on the rows beside it. Weights are
2^y, y = (h − top) · log₂e / T, in the precision of the logits; sums over blocks of 256 tokens go on in float64.

    x         [B, V] logits, float32 or float64, contiguous       mask      [B, V] 0 or 1, or [0, 0] where all are open
    tops      [B] the largest open logit                          bests     [B] its first token
    inverses  [B] 1 / T; infinity is greedy                       parts     [B, n] sums of the weights by blocks
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

BLOCK = 256
LN2 = math.log(2)
LOG2E = 1 / LN2
BELOW_ONE = 1 - 2**-52  # u times a total, rounded, is then less than the total
FLOOR32, FLOOR64 = -125.0, -1021.0  # exponents of the smallest normal numbers; weights below count as 0
RULED_OUT = (
    5 * LN2 * 1022
)  # nats below the largest logit: a token there has no weight at any temperature up to 5, in float64
MOST32, MOST64 = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)

FLAGS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
compiled: Any = njit(cache=True, **FLAGS)
inlined: Any = njit(
    **FLAGS
)  # not cached: a caller compiled around a cached part rounds otherwise than the one before it


@compiled
def survey(x, peaks, tops, bests):  # type: ignore[no-untyped-def]
    """The largest logit of every block, of the row (NaN where one is), and the first token that has it."""
    for b in range(x.shape[0]):
        sound = _peaks32(x[b], peaks[b]) if x.itemsize == 4 else _peaks64(x[b], peaks[b])
        home = peaks[b].argmax()
        bests[b] = home * BLOCK
        for i in range(home * BLOCK, min((home + 1) * BLOCK, x.shape[1])):
            if x[b, i] == peaks[b, home]:
                bests[b] = i
                break
        tops[b] = peaks[b, home] if sound else np.nan


@inlined
def _peaks32(row, peaks):  # type: ignore[no-untyped-def]
    """The largest of every block, and whether all are numbers. As integers, whose maximum takes a fifth of the time."""
    words, magnitude = row.view(np.int32), np.int32(0x7FFFFFFF)
    most, found = np.int32(0), peaks.view(np.int32)
    for j in range(peaks.size):
        peak = np.int32(-0x80000000)
        start, count = j * BLOCK, min(BLOCK, row.size - j * BLOCK)
        for i in range(count):
            word = words[start + i]
            size = word & magnitude
            word ^= (word >> np.int32(31)) & magnitude  # negative numbers in their order
            peak = word if word > peak else peak
            most = size if size > most else most
        found[j] = peak ^ ((peak >> np.int32(31)) & magnitude)
    return most <= np.int32(0x7F800000)  # infinity; above are no numbers


@inlined
def _peaks64(row, peaks):  # type: ignore[no-untyped-def]
    sound = True
    for j in range(peaks.size):
        peaks[j] = -np.inf
        for i in range(j * BLOCK, min((j + 1) * BLOCK, row.size)):
            peaks[j] = row[i] if row[i] > peaks[j] else peaks[j]
            sound &= row[i] == row[i]
    return sound


@inlined
def _scale(row, inverse):  # type: ignore[no-untyped-def]
    """log₂e / T in the precision of the row, finite."""
    most = MOST32 if row.itemsize == 4 else MOST64
    return row.dtype.type(min(inverse * LOG2E, most))


@inlined
def _power_of_two(y, half, one):  # type: ignore[no-untyped-def]
    """2^f in float32 for what is left of y <= 0 beside the nearest integer; the coefficients are those of Cephes' exp2f."""
    f = y - np.float32(np.int32(y - half))  # in [-1/2, 1/2]
    p = np.float32(1.535336188319500e-4)
    p = p * f + np.float32(1.339887440266574e-3)
    p = p * f + np.float32(9.618437357674640e-3)
    p = p * f + np.float32(5.550332471162809e-2)
    p = p * f + np.float32(2.402264791363012e-1)
    p = p * f + np.float32(6.931472028550421e-1)
    return p * f + one


@inlined
def _sums32(row, mask, top, scale, bits, powers, y, parts, products):  # type: ignore[no-untyped-def]
    """Σ w and Σ w·y of every block of a float32 row."""
    floor, half, one = np.float32(FLOOR32), np.float32(0.5), np.float32(1.0)
    for j in range(parts.size):
        start, count = j * BLOCK, min(BLOCK, row.size - j * BLOCK)
        for i in range(count):
            v = (row[start + i] - top) * scale
            bits[i] = (np.int32(v - half) + np.int32(127)) << np.int32(23) if v > floor else np.int32(0)
            y[i] = v if v > floor else floor
        if mask.size:
            for i in range(count):
                bits[i] = bits[i] if mask[start + i] else np.int32(0)
        total, product = np.float32(0), np.float32(0)
        for i in range(count):
            w = _power_of_two(y[i], half, one) * powers[i]
            total += w
            product += w * y[i]
        parts[j], products[j] = total, product


@inlined
def _block_weights(row, mask, start, stop, top, scale, bits, powers, w, y):  # type: ignore[no-untyped-def]
    """Weights and exponents of row[start:stop] into w and y; `powers` is `bits` read as float32."""
    if row.itemsize == 4:
        floor, half, one = row.dtype.type(FLOOR32), row.dtype.type(0.5), row.dtype.type(1.0)
        for i in range(stop - start):
            v = (row[start + i] - top) * scale
            bits[i] = (np.int32(v - half) + np.int32(127)) << np.int32(23) if v > floor else np.int32(0)
            y[i] = v if v > floor else floor
        for i in range(stop - start):
            w[i] = _power_of_two(y[i], half, one) * powers[i]
    else:
        for i in range(stop - start):
            v = (row[start + i] - top) * scale
            y[i] = v if v > FLOOR64 else FLOOR64
            w[i] = 2.0**v if v > FLOOR64 else 0.0
    if mask.size:
        for i in range(stop - start):  # chosen, not multiplied: a closed token far above the open ones may be infinite
            w[i] = w[i] if mask[start + i] else row.dtype.type(0)


@compiled
def add_up(x, mask, tops, bests, inverses, parts, figures):  # type: ignore[no-untyped-def]
    """The sums of the weights by blocks; Z, ln Z and the entropy in nats into figures [B, 3].

    The best token's weight is 1. It is left out of its block's sum and added in float64, so that ln Z and the entropy
    keep their digits where the model is all but sure.
    """
    bits = np.empty(BLOCK, np.int32)
    powers, w, y = bits.view(np.float32), np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    products = np.empty(parts.shape[1])
    for b in range(x.shape[0]):
        row, open_to, best = x[b], mask[b] if mask.size else mask.ravel(), bests[b]
        if inverses[b] == np.inf:
            parts[b, :] = 0.0
            parts[b, best // BLOCK] = 1.0
            figures[b, 0], figures[b, 1], figures[b, 2] = 1.0, 0.0, 0.0
            continue
        top, scale = row.dtype.type(tops[b]), _scale(row, inverses[b])
        if row.itemsize == 4:
            _sums32(row, open_to, top, scale, bits, powers, y, parts[b], products)
        else:
            for j in range(parts.shape[1]):
                start, stop = j * BLOCK, min((j + 1) * BLOCK, row.size)
                _block_weights(row, open_to, start, stop, top, scale, bits, powers, w, y)
                parts[b, j], products[j] = w[: stop - start].sum(), (w * y)[: stop - start].sum()
        home = best // BLOCK
        start, stop = home * BLOCK, min((home + 1) * BLOCK, row.size)
        _block_weights(row, open_to, start, stop, top, scale, bits, powers, w, y)
        w[best - start] = 0.0
        parts[b, home] = 0.0
        for i in range(stop - start):
            parts[b, home] += w[i]
        rest = parts[b].sum()
        parts[b, home] += 1.0
        figures[b, 0], figures[b, 1] = 1 + rest, np.log1p(rest)
        figures[b, 2] = max(figures[b, 1] - LN2 * products.sum() / (1 + rest), 0.0)


@compiled
def draw(x, mask, tops, bests, inverses, parts, u, tokens):  # type: ignore[no-untyped-def]
    """The token of every row at which the cumulative sum of the weights first exceeds u [B] of their total."""
    bits = np.empty(BLOCK, np.int32)
    powers, w, y = bits.view(np.float32), np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    for b in range(x.shape[0]):
        tokens[b] = bests[b]
        if inverses[b] == np.inf:
            continue
        row, open_to = x[b], mask[b] if mask.size else mask.ravel()
        total = 0.0
        for j in range(parts.shape[1]):
            total += parts[b, j]
        wanted, end, place, before = min(u[b], BELOW_ONE) * total, 0.0, 0, 0.0
        for j in range(parts.shape[1]):  # `total` was added up in another order: where rounding leaves `wanted` beyond
            if parts[b, j] > 0:  # the end, the last block with mass has it, and in it the last token with mass
                place, before = j, end
            end += parts[b, j]
            if end > wanted:
                break
        start, stop = place * BLOCK, min((place + 1) * BLOCK, row.size)
        _block_weights(row, open_to, start, stop, row.dtype.type(tops[b]), _scale(row, inverses[b]), bits, powers, w, y)
        inside = 0.0
        for i in range(stop - start):
            inside += w[i]
        rest, end = min(max(wanted - before, 0.0), inside * BELOW_ONE), 0.0
        for i in range(stop - start):
            if w[i] > 0:
                tokens[b] = start + i
            end += w[i]
            if end > rest:
                break


@compiled
def weigh(x, mask, tops, bests, inverses, weights):  # type: ignore[no-untyped-def]
    """All weights into weights [B, V]."""
    bits = np.empty(BLOCK, np.int32)
    powers, y = bits.view(np.float32), np.empty(BLOCK, x.dtype)
    for b in range(x.shape[0]):
        row, open_to = x[b], mask[b] if mask.size else mask.ravel()
        if inverses[b] == np.inf:
            weights[b, :] = 0.0
            weights[b, bests[b]] = 1.0
            continue
        top, scale = row.dtype.type(tops[b]), _scale(row, inverses[b])
        for start in range(0, row.size, BLOCK):
            stop = min(start + BLOCK, row.size)
            _block_weights(row, open_to, start, stop, top, scale, bits, powers, weights[b, start:stop], y)


@compiled
def spread(x, mask, tops, inverses, figures, found):  # type: ignore[no-untyped-def]
    """The variance [B] of the surprise in nats², from the figures of `add_up`."""
    bits = np.empty(BLOCK, np.int32)
    powers, w, y = bits.view(np.float32), np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    for b in range(x.shape[0]):
        found[b] = 0.0
        if inverses[b] == np.inf:
            continue
        row, open_to = x[b], mask[b] if mask.size else mask.ravel()
        top, scale = row.dtype.type(tops[b]), _scale(row, inverses[b])
        mean = row.dtype.type((figures[b, 1] - figures[b, 2]) / LN2)  # of y
        for start in range(0, row.size, BLOCK):
            stop = min(start + BLOCK, row.size)
            _block_weights(row, open_to, start, stop, top, scale, bits, powers, w, y)
            total = row.dtype.type(0)
            for i in range(stop - start):
                total += w[i] * (y[i] - mean) * (y[i] - mean)
            found[b] += total
        found[b] *= LN2 * LN2 / figures[b, 0]


@compiled
def crown(x, mask, inverses, tops, bests):  # type: ignore[no-untyped-def]
    """Where a row's best token is closed, the most probable open one takes its place; where all are, it stays, open again."""
    for b in range(x.shape[0]):
        if mask[b, bests[b]]:
            continue
        row, scale, old = x[b], _scale(x[b], inverses[b]), x.dtype.type(tops[b])
        floor = FLOOR32 if row.itemsize == 4 else FLOOR64
        top, best = row.dtype.type(-np.inf), -1
        if inverses[b] != np.inf:
            for i in range(row.size):
                if mask[b, i] and row[i] > top and (row[i] - old) * scale > floor:
                    top, best = row[i], i
        if best < 0:
            mask[b, bests[b]] = 1
        else:
            tops[b], bests[b] = top, best


@compiled
def largest(x, mask, peaks, ids, values):  # type: ignore[no-untyped-def]
    """The most probable tokens [B, k] and their logits, best first, of equal ones the first; blocks whose peak is too low
    are not looked at."""
    count = ids.shape[1]
    best_peaks = np.empty(count, x.dtype)
    for b in range(x.shape[0]):
        held = 0
        if not mask.size:
            for j in range(peaks.shape[1]):
                held = _insert(peaks[b, j], j, held, best_peaks, ids[b])
        least = best_peaks[count - 1] if held == count else x.dtype.type(-np.inf)
        held = 0
        for j in range(peaks.shape[1]):
            if peaks[b, j] < least:
                continue
            for i in range(j * BLOCK, min((j + 1) * BLOCK, x.shape[1])):
                value = x[b, i] if not mask.size or mask[b, i] else x.dtype.type(-np.inf)
                held = _insert(value, i, held, values[b], ids[b])


@inlined
def _insert(value, name, held, values, names):  # type: ignore[no-untyped-def]
    """Keeps the largest in falling order, of equal ones the first; how many are held."""
    count = values.size
    if held == count and not value > values[count - 1]:
        return held
    i = min(held, count - 1)
    while i > 0 and value > values[i - 1]:
        values[i], names[i] = values[i - 1], names[i - 1]
        i -= 1
    values[i], names[i] = value, name
    return min(held + 1, count)


@compiled
def chances(x, mask, tops, bests, inverses, figures, tokens, found):  # type: ignore[no-untyped-def]
    """The probability of some tokens [B, k] of every row."""
    for b in range(x.shape[0]):
        floor = FLOOR32 if x.itemsize == 4 else FLOOR64
        for k in range(tokens.shape[1]):
            token = tokens[b, k]
            if inverses[b] == np.inf:
                found[b, k] = 1.0 if token == bests[b] else 0.0
                continue
            y = (np.float64(x[b, token]) - tops[b]) * inverses[b]
            open_to = not mask.size or mask[b, token] != 0
            found[b, k] = math.exp(y) / figures[b, 0] if open_to and y > floor * LN2 else 0.0


@compiled
def count_possible(x, tops, counts):  # type: ignore[no-untyped-def]
    """How many tokens of every row [B] the model has not ruled out, by minus infinity or by a number far below all others."""
    for b in range(x.shape[0]):
        row, found = x[b], np.int32(0)
        least = row.dtype.type(tops[b] - RULED_OUT)
        for i in range(row.size):
            found += np.int32(row[i] > least)
        counts[b] = found


@compiled
def count_open(x, mask, tops, inverses, rows, counts):  # type: ignore[no-untyped-def]
    """How many tokens of some rows [k] have a weight above 0."""
    for k in range(rows.size):
        b, found, least = rows[k], np.int32(0), np.float64(0)
        counts[k] = 1
        if inverses[b] == np.inf:
            continue
        row, top, scale = x[b], x.dtype.type(tops[b]), _scale(x[b], inverses[b])
        least = x.dtype.type(FLOOR32 if x.itemsize == 4 else FLOOR64)
        if mask.size:
            open_to = mask[b]
            for i in range(row.size):
                found += np.int32(((row[i] - top) * scale > least) & (open_to[i] != 0))
        else:
            for i in range(row.size):
                found += np.int32((row[i] - top) * scale > least)
        counts[k] = found


@compiled
def row_sums(values):  # type: ignore[no-untyped-def]
    """[B, V] → [B] in float64."""
    found = np.zeros(values.shape[0])
    for b in range(values.shape[0]):
        for start in range(0, values.shape[1], BLOCK):
            total = values.dtype.type(0)
            for i in range(start, min(start + BLOCK, values.shape[1])):
                total += values[b, i]
            found[b] += total
    return found
