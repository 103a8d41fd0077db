"""Quadrants: entropy and varentropy in bits, one cut on each axis, and the likeliest tokens of the sampled quadrants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies import fixed, quadrants
from playground.decoding.policies.base import Decision, Head, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request
from tests.tiny_lm import TinyLM

KINDS = [quadrants.KIND, fixed.KIND]
HEATS = {(False, False): 0.1, (False, True): 0.2, (True, False): 0.3, (True, True): 0.4}
FOUR = "sure=0.1,forks=0.2,careful=0.3,mist=0.4"


def no_head(name: str) -> Head:
    raise AssertionError("the formula reads no head")


def decide(logits: Tensor, *specs: str) -> Decision:
    rows = tuple(Row(parse(spec, KINDS)) for spec in specs)
    return quadrants.Quadrants(rows, Resources(no_head)).decide(
        Distribution(logits), torch.zeros(len(rows), 1), State(rows)
    )


def moments(h: np.ndarray) -> tuple[float, float]:
    """Mean and variance of −log2 p, the variance as E[x²] − E[x]²."""
    p = np.exp(h - h.max()) / np.exp(h - h.max()).sum()
    bits = -np.log2(p[p > 0])
    mean = float((p[p > 0] * bits).sum())
    return mean, float((p[p > 0] * bits**2).sum()) - mean**2


@pytest.mark.parametrize("cuts", [(5.0, 5.0), (2.0, 3.0), (3.0, 8.0)])
def test_temperature_and_varentropy_on_the_embedded_models_logits(
    captured_logits: np.ndarray, cuts: tuple[float, float]
) -> None:
    spec = f"quadrants:{FOUR},entropy_bits={cuts[0]},varentropy_bits2={cuts[1]}"
    decision = decide(torch.tensor(captured_logits), *[spec] * 24)
    expected = [moments(h) for h in captured_logits]
    assert decision.channel["varentropy"].tolist() == pytest.approx([w for _, w in expected], abs=1e-4)
    heats = [HEATS[h > cuts[0], w > cuts[1]] for h, w in expected]
    assert decision.temperature.tolist() == heats
    assert len(set(heats)) >= 3


def test_the_sampled_tokens_are_the_likeliest(captured_logits: np.ndarray) -> None:
    keep = decide(torch.tensor(captured_logits), *["quadrants:kept=27"] * 24).keep
    assert keep is not None
    for row, kept in zip(captured_logits, keep.numpy(), strict=True):
        assert set(np.flatnonzero(kept)) == set(np.argsort(-row)[:27])
    everything = decide(torch.tensor(captured_logits[:1]), "quadrants:kept=0").keep
    assert everything is not None
    assert everything.all()


def test_each_quadrant_is_reached_by_a_distribution_that_belongs_there() -> None:
    def mixture(sure: float, many: int) -> Tensor:
        """One token with probability `sure`, the rest spread evenly over `many`."""
        return torch.tensor([sure, *[(1 - sure) / many] * many, *[0.0] * (5000 - many)], dtype=torch.float64).log()

    calm, split, even, wide = mixture(0.999, 2), mixture(0.8, 4000), mixture(1 / 101, 100), mixture(0.5, 4999)
    found = decide(torch.stack([calm, split, even, wide]), *[f"quadrants:{FOUR}"] * 4)
    assert found.temperature.tolist() == [0.1, 0.2, 0.3, 0.4]


def test_varentropy_is_zero_for_certainty_and_for_uniform_and_known_for_two_tokens() -> None:
    certain = torch.tensor([[0.0, -math.inf, -math.inf]], dtype=torch.float64)
    uniform = torch.zeros(1, 64, dtype=torch.float64).log_softmax(-1)
    pair = torch.tensor([[0.9, 0.1]], dtype=torch.float64).log()
    bits2 = [float(decide(logits, "quadrants").channel["varentropy"]) for logits in (certain, uniform, pair)]
    assert bits2 == pytest.approx([0, 0, 0.9 * 0.1 * math.log2(0.9 / 0.1) ** 2])


def test_decoding_stays_within_the_kept_tokens_and_records_the_order() -> None:
    request = Request("Tell me about the sea.", seed=2, max_tokens=60)
    rows = engine.rows_of(request, [parse("quadrants:kept=3,mist=3,sure=1,min_p=0.01", KINDS)])
    *_, end = engine.stream(TinyLM(sharpness=1.0), request, rows, Resources(no_head))
    assert isinstance(end, Finished)
    (trace,) = end.traces
    assert trace.order == ("kept", "temperature", "min_p")
    for step in trace.steps:
        assert step.token_id in {choice.id for choice in step.alternatives[:3]}
        assert step.entropy_after <= math.log(3) + 1e-6
