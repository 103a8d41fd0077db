"""The filters: transformers' filters, and the same sets as sorting the whole vocabulary gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import (
    EtaLogitsWarper,
    MinPLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from playground.decoding.distribution import Distribution
from playground.decoding.filters import Filters, nucleus
from playground.decoding.sampling import FILTER_OFF, FILTER_ORDER

V = 300
THEIRS: dict[str, tuple[Callable[[float], object], tuple[float, ...]]] = {
    "top_k": (lambda k: TopKLogitsWarper(int(k)), (1, 5, 40, 10_000)),
    "top_p": (TopPLogitsWarper, (0.05, 0.5, 0.9, 0.999)),
    "min_p": (MinPLogitsWarper, (0.01, 0.1, 0.7, 1.0)),
    "typical_p": (TypicalLogitsWarper, (0.1, 0.5, 0.95)),
    "eta_cutoff": (EtaLogitsWarper, (1e-4, 3e-3, 0.2)),
}


def logits_of(seed: int, rows: int = 12) -> Tensor:
    """Rows from nearly flat to very peaked."""
    noise = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-1, 1, rows, dtype=torch.float64)[:, None]
    return torch.randn(rows, V, dtype=torch.float64, generator=noise) * scale


def keep(name: str, value: float, logits: Tensor) -> Tensor:
    """Log-probabilities [B, V] that one filter leaves."""
    return Filters([{**FILTER_OFF, name: value}] * len(logits))(Distribution(logits)).logprobs


@pytest.mark.parametrize("name", THEIRS)
def test_a_filter_keeps_what_transformers_keeps(name: str) -> None:
    make, values = THEIRS[name]
    for seed, value in enumerate(values):
        logits = logits_of(seed)
        theirs = make(value)(None, logits.clone())  # type: ignore[operator]
        ours = keep(name, value, logits)
        assert torch.equal(ours.isfinite(), theirs.isfinite()), value
        torch.testing.assert_close(ours, torch.log_softmax(theirs, -1))


def test_top_n_sigma_keeps_logits_within_n_deviations_of_the_largest() -> None:
    for n in (0.5, 1.0, 3.0):
        for row in logits_of(3):
            values = row.tolist()
            mean = math.fsum(values) / V
            deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / V)
            kept = {i for i, x in enumerate(values) if x >= max(values) - n * deviation}
            ours = keep("top_n_sigma", n, row[None])[0]
            assert set(ours.isfinite().nonzero()[:, 0].tolist()) == kept


def test_top_n_sigma_does_not_depend_on_the_temperature() -> None:
    logits = logits_of(4)
    settings = [{**FILTER_OFF, "top_n_sigma": 1.0}] * len(logits)
    cold, hot = (
        Filters(settings)(Distribution(logits).tempered(torch.full((len(logits),), t, dtype=torch.float64))).logprobs
        for t in (0.5, 2.0)
    )
    assert torch.equal(cold.isfinite(), hot.isfinite())


def test_filters_together_never_remove_everything_and_leave_a_distribution() -> None:
    draw = torch.Generator().manual_seed(0)
    harshest = {"top_k": 1, "top_p": 1e-9, "min_p": 1.0, "typical_p": 1e-9, "eta_cutoff": 1.0, "top_n_sigma": 1e-9}
    for seed in range(20):
        logits = logits_of(seed)
        chosen = torch.rand(len(logits), len(FILTER_ORDER), generator=draw) < 0.6
        settings = [
            {name: harshest[name] if on else FILTER_OFF[name] for name, on in zip(FILTER_ORDER, row, strict=True)}
            for row in chosen.tolist()
        ]
        probs = Filters(settings)(Distribution(logits)).probs
        torch.testing.assert_close(probs.sum(-1), torch.ones(len(logits), dtype=torch.float64))
        assert (probs > 0).any(-1).all()


def test_a_row_is_filtered_by_its_own_settings_only() -> None:
    logits = logits_of(5, rows=3)
    settings = [dict(FILTER_OFF), {**FILTER_OFF, "top_k": 3}, {**FILTER_OFF, "top_k": 7, "min_p": 0.5}]
    together = Filters(settings)(Distribution(logits)).probs
    torch.testing.assert_close(together[0], torch.softmax(logits[0], -1))
    for b in range(3):
        alone = Filters(settings[b : b + 1])(Distribution(logits[b : b + 1])).probs
        assert torch.equal(alone[0], together[b])


def sorted_set(logprobs: Tensor, order: Tensor, p: float) -> Tensor:
    """The fewest tokens of one row, by falling order, the first of equal ones first, with mass >= p: a stable sort of all."""
    by = order.argsort(descending=True, stable=True)
    probs = logprobs.exp()[by]
    return torch.zeros_like(order, dtype=torch.bool).scatter(0, by, probs.cumsum(0) - probs < p)


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.99, 0.9999, 1 - 1e-12])
@pytest.mark.parametrize("scale", [0.01, 1.0, 3.0, 30.0])
def test_the_nucleus_is_that_of_a_stable_sort_ties_included(scale: float, p: float) -> None:
    """Logits of a coarse grid: hundreds of tokens are equal."""
    noise = torch.Generator().manual_seed(int(scale * 100))
    logits = (torch.randn(4, 5000, generator=noise, dtype=torch.float64) * 4).round() * scale / 4
    kept = nucleus(Distribution(logits), torch.full((4,), p, dtype=torch.float64))
    for row, logprobs in zip(kept, torch.log_softmax(logits, -1), strict=True):
        expected = sorted_set(logprobs, logprobs, p)
        if p < 1 - 1e-9:
            assert torch.equal(row > 0, expected)
        else:
            assert float(logprobs.exp()[row > 0].sum()) >= p - 1e-12


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95, 0.999])
def test_the_typical_set_is_that_of_a_stable_sort(p: float) -> None:
    logits = logits_of(9)
    for row, logprobs in zip(keep("typical_p", p, logits), torch.log_softmax(logits, -1), strict=True):
        distance = (-logprobs - torch.special.entr(logprobs.exp()).sum()).abs()
        assert torch.equal(row.isfinite(), sorted_set(logprobs, -distance, p))


@pytest.mark.parametrize("name", FILTER_ORDER)
def test_a_filtered_row_has_the_same_bits_in_any_company(name: str) -> None:
    values = {"top_k": (40, 3, 300), "top_n_sigma": (1.0, 0.3, 2.0)}.get(name, (0.9, 0.2, 0.01))
    settings = [{**FILTER_OFF, name: values[b % 3]} if b % 4 else dict(FILTER_OFF) for b in range(9)]
    noise = torch.Generator().manual_seed(3)
    logits = torch.randn(9, 49_152, generator=noise) * torch.linspace(0.5, 4, 9)[:, None]
    heat, u = torch.linspace(0.4, 1.4, 9, dtype=torch.float64), torch.rand(9, dtype=torch.float64, generator=noise)

    def figures(start: int, stop: int) -> list[Tensor]:
        now = Filters(settings[start:stop])(Distribution(logits[start:stop]).tempered(heat[start:stop]))
        return [now.entropy, now.draw(u[start:stop]), now.logprobs]

    together = figures(0, 9)
    for start, stop in [*((b, b + 1) for b in range(9)), (2, 5), (0, 8)]:
        for ours, whole in zip(figures(start, stop), together, strict=True):
            assert torch.equal(ours, whole[start:stop])


def test_a_filter_after_a_policys_mask_reads_what_the_mask_left() -> None:
    logits = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]])
    left = Distribution(logits).keeping(torch.tensor([[0.0, 1, 0, 1, 1]]))
    assert Filters([{**FILTER_OFF, "top_k": 2}])(left).probs.nonzero()[:, 1].tolist() == [1, 3]
    assert Filters([{**FILTER_OFF, "top_p": 0.8}])(left).probs.nonzero()[:, 1].tolist() == [1]
