"""The filters that cut a distribution down before a token is drawn, one after the other in FILTER_ORDER, each on what the
one before it left.

They follow transformers' warpers; top_n_sigma (Tang et al. 2024, arXiv 2411.07641) reads the unfiltered logits. A filter
is a mask [B, V] of 1 and 0, computed for all rows at once; a row without it has the setting that keeps everything. No
filter sorts the vocabulary: `smallest_set` looks among candidates and takes more of them until their mass is enough.

Shapes: B rows, V vocabulary, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from playground.decoding.distribution import LN2, Distribution, at_least, column, row_sums
from playground.decoding.kernels import RULED_OUT
from playground.decoding.sampling import FILTER_OFF, FILTER_ORDER

CELL = 32  # tokens that are looked at together in the search for candidates


class Filters:
    """The filters of some rows. `settings[b]` holds row b's values by name."""

    def __init__(self, settings: Sequence[Mapping[str, float]]) -> None:
        self._columns = {}
        for name in FILTER_ORDER:
            values = [float(row[name]) for row in settings]
            if any(value != FILTER_OFF[name] for value in values):
                self._columns[name] = torch.tensor(values, dtype=torch.float64)

    def __call__(self, given: Distribution) -> Distribution:
        """What each row's filters leave, renormalised: at least one token, and a greedy row unchanged."""
        raw = given
        for name, values in self._columns.items():
            given = given.keeping(_FILTERS[name](given, raw, values))
        return given


def _top_k(given: Distribution, raw: Distribution, k: Tensor) -> Tensor:
    """The k most probable; ties with the k-th stay."""
    return given.at_least(given.kth(torch.where(k > 0, k, given.size).long().clamp(max=given.size)))


def _top_p(given: Distribution, raw: Distribution, p: Tensor) -> Tensor:
    return nucleus(given, p)


def nucleus(given: Distribution, p: Tensor) -> Tensor:
    """The smallest set of most probable tokens with mass >= p [B] (Holtzman et al. 2020), as a mask [B, V].

    Of tokens with the same logit the first are taken. Empty where p is 0.
    """
    # The tokens less probable than c have less than V·c together: where that is 1 − p, none of them is needed.
    spare = (1 - p).clamp(min=torch.finfo(torch.float64).eps)
    cuts = (given.bound((spare / count).log()) for count in (1 << 11, 1 << 15, max(given.size, 1 << 20)))
    return smallest_set(given, given.logits, p, cuts)


def _min_p(given: Distribution, raw: Distribution, p: Tensor) -> Tensor:
    """Tokens with at least p times the probability of the best one (Nguyen et al. 2024, arXiv 2407.01082)."""
    return at_least(given.weights, p)


def _typical_p(given: Distribution, raw: Distribution, p: Tensor) -> Tensor:
    """The tokens whose surprisal is nearest the entropy, up to mass p (Meister et al. 2023, arXiv 2202.00666)."""
    mean = (given.log_total - given.entropy) / LN2  # of the exponents
    nearness = given.exponents().sub_(mean.to(given.weights.dtype)[:, None]).abs_().neg_()
    reach = (torch.full_like(p, -bits) for bits in (1.0, 2.0, 4.0, 8.0, 16.0, math.inf))
    return smallest_set(given, nearness, p, reach)


def _eta_cutoff(given: Distribution, raw: Distribution, eta: Tensor) -> Tensor:
    """Tokens with p >= min(eta, sqrt(eta)·exp(−H)) (Hewitt et al. 2022, arXiv 2210.15191)."""
    least = torch.minimum(eta, eta.sqrt() * torch.exp(-given.entropy))
    weight = (least * given.total).clamp(max=1.0)  # the best token stays
    return at_least(given.weights, weight)


def _top_n_sigma(given: Distribution, raw: Distribution, n: Tensor) -> Tensor:
    """Tokens whose logit is within n standard deviations of the largest; the temperature does not matter.

    The deviation is of the tokens that the model has not ruled out: the others have no place in it, however they are marked.
    """
    lowered, count = raw.logits - raw.top[:, None], column(raw.possible)
    gone = lowered <= -RULED_OUT if min(raw.possible) < raw.size else None
    mean = (row_sums(_without(gone, lowered)) / count).to(lowered.dtype)
    deviation = (row_sums(_without(gone, lowered.sub_(mean[:, None]).square_())) / count).sqrt()
    return given.at_least(torch.where(n > 0, raw.top - n * deviation, -math.inf))


def _without(gone: Tensor | None, values: Tensor) -> Tensor:
    return values if gone is None else values.masked_fill_(gone, 0.0)


def smallest_set(given: Distribution, order: Tensor, p: Tensor, cuts: Iterable[Tensor]) -> Tensor:
    """The fewest tokens, by falling `order` [B, V], with mass >= p [B]; a mask [B, V]. Of equal tokens the first are taken.

    The candidates are the tokens whose order is at least a cut [B]. `cuts` are tried in turn until their mass is enough;
    the set does not depend on which of them was. Rows with p = 1 keep everything.
    """
    all_of_it = p >= 1
    wanted = torch.where(all_of_it, 0.0, p * given.total)  # of the weights
    cells, weights = (pad(values, (0, -given.size % CELL)) for values in (order, given.weights))
    for cut in cuts:
        order_of, mass_of, token_of = _candidates(weights, cells, torch.where(all_of_it, math.inf, cut))
        if bool((mass_of.sum(-1) >= wanted).all()):
            break
    by = order_of.argsort(dim=-1, descending=True, stable=True)  # [B, C]
    mass = mass_of.gather(-1, by)
    taken = (mass.cumsum(-1) - mass < wanted[:, None]) & (mass > 0)
    mask = torch.zeros_like(order).scatter_add_(-1, token_of.gather(-1, by), taken.to(order.dtype))
    return mask.masked_fill_(all_of_it[:, None], 1.0)


def _candidates(weights: Tensor, order: Tensor, cut: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Order, weight (float64) and id [B, C] of every token of weights [B, V] above 0 whose order is at least cut [B].

    In the order of the ids; rows with fewer than C are filled up with weight 0. Cells without a candidate are left out
    before their tokens are looked at.
    """
    cut = cut.to(order.dtype)
    cells, heavy = (x.view(len(x), -1, CELL) for x in (order, weights))
    row, cell = (cells.amax(-1) >= cut[:, None]).nonzero(as_tuple=True)  # [m]
    near, mass = cells[row, cell], heavy[row, cell]  # [m, 32]
    place, inside = ((near >= cut[row, None]) & (mass > 0)).nonzero(as_tuple=True)  # [tokens]
    owner = row[place]
    counts = torch.bincount(owner, minlength=len(cut))
    slot = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    shape = (len(cut), max(int(counts.max()), 1))
    found = (near[place, inside], mass[place, inside].double(), cell[place] * CELL + inside)
    empty = (order.new_full(shape, -math.inf), torch.zeros(shape, dtype=torch.float64), torch.zeros(shape).long())
    orders, masses, tokens = (x.index_put_((owner, slot), y) for x, y in zip(empty, found, strict=True))
    return orders, masses, tokens


_FILTERS = {
    "top_k": _top_k,
    "top_p": _top_p,
    "min_p": _min_p,
    "typical_p": _typical_p,
    "eta_cutoff": _eta_cutoff,
    "top_n_sigma": _top_n_sigma,
}
