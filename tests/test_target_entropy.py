"""Target entropy: the root that plain bisection finds, or the bound that is nearest; and the loss it minimises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies import fixed, target_entropy
from playground.decoding.policies.base import Decision, Head, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.policies.target_entropy import TargetEntropy, solve
from playground.decoding.trace import Finished, Request
from playground.errors import PlaygroundError
from tests.tiny_lm import TinyLM

KINDS = [target_entropy.KIND, fixed.KIND]


def no_head(name: str) -> Head:
    raise AssertionError("the formula reads no head")


def decide(logits: Tensor, *specs: str) -> Decision:
    rows = tuple(Row(parse(spec, KINDS)) for spec in specs)
    return TargetEntropy(rows, Resources(no_head)).decide(Distribution(logits), torch.zeros(len(rows), 1), State(rows))


def entropy_at(h: np.ndarray, temperature: float) -> float:
    x = (h - h.max()) / temperature
    p = np.exp(x) / np.exp(x).sum()
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def bisected(h: np.ndarray, target: float, low: float, high: float) -> float:
    """T by 80 plain halvings."""
    if entropy_at(h, low) >= target:
        return low
    if entropy_at(h, high) <= target:
        return high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if entropy_at(h, middle) < target else (low, middle)
    return low


@pytest.mark.parametrize("nats", [0.5, 2.0, 3.5])
def test_temperature_and_reached_entropy_are_those_of_plain_bisection(captured_logits: np.ndarray, nats: float) -> None:
    some = captured_logits[::3]
    decision = decide(torch.tensor(some), *[f"target-entropy:nats={nats}"] * len(some))
    expected = [bisected(h, nats, 0.01, 1.2) for h in some]
    assert decision.temperature.tolist() == pytest.approx(expected, abs=1e-9)
    gaps = [entropy_at(h, t) - nats for h, t in zip(some, expected, strict=True)]
    assert decision.channel["entropy_gap"].tolist() == pytest.approx(gaps, abs=1e-8)
    assert decision.channel["clipped"].tolist() == [{0.01: -1, 1.2: 1}.get(t, 0) for t in expected]


def test_both_kinds_of_step_occur_in_the_captured_text(captured_logits: np.ndarray) -> None:
    clipped = decide(torch.tensor(captured_logits), *["target-entropy"] * 24).channel["clipped"]
    assert {0.0, 1.0} <= set(clipped.tolist())


def test_hot_where_the_model_is_sure(captured_logits: np.ndarray) -> None:
    heats = decide(torch.tensor(captured_logits), *["target-entropy"] * 24).temperature.numpy()
    assert np.corrcoef(heats, [entropy_at(h, 1.0) for h in captured_logits])[0, 1] < -0.8


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("target", [0.001, 0.3, 1.0, 2.5, 5.0])
def test_the_root_is_met_or_a_bound_is_nearest(sharpness: float, target: float) -> None:
    noise = torch.Generator().manual_seed(int(100 * sharpness + target))
    for _ in range(20):
        logits = torch.randn(300, dtype=torch.float64, generator=noise) * sharpness
        found, reached = solve(logits, target, 0.05, 4.0)
        assert reached == pytest.approx(entropy_at(logits.numpy(), found), abs=1e-9)
        if found == 0.05:
            assert reached >= target - 1e-9
        elif found == 4.0:
            assert reached <= target + 1e-9
        else:
            assert reached == pytest.approx(target, abs=1e-9)


def test_a_higher_target_never_cools() -> None:
    logits = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    heats = [solve(logits, target, 0.01, 5.0)[0] for target in np.linspace(0.01, math.log(500), 60)]
    assert heats == sorted(heats)
    assert heats[0] < 0.5 < 2 < heats[-1]


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0, -50.0], -1),  # two equal ones have ln 2 at any temperature
        ([0.0, -1e6, -math.inf], 1),  # nothing but the first at any temperature
        ([0.0, -math.inf, -math.inf], 1),
    ],
)
def test_what_no_temperature_reaches_is_clipped(logits: list[float], expected: int) -> None:
    decision = decide(torch.tensor([logits], dtype=torch.float64), "target-entropy:nats=0.5")
    assert decision.channel["clipped"].tolist() == [expected]
    assert decision.temperature.tolist() == [0.01 if expected < 0 else 1.2]


def test_the_loss_has_its_minimum_there_whatever_the_label() -> None:
    logits = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3
    target = 2.0
    rho = math.log(len(logits)) - target
    for label in (0, 17):

        def loss(temperature: float, label: int = label) -> float:
            spread = torch.logsumexp((logits - logits[label]) / temperature, -1) - math.log(len(logits))
            return temperature * float(spread) + rho * temperature

        best, _ = solve(logits, target, 0.01, 5.0)
        assert loss(best) < min(loss(best * 0.99), loss(best * 1.01))
        for temperature in (0.6, 1.0, 1.7):
            slope = (loss(temperature + 1e-5) - loss(temperature - 1e-5)) / 2e-5
            assert slope == pytest.approx(entropy_at(logits.numpy(), temperature) - target, abs=1e-6)


def test_a_row_is_solved_to_the_same_bits_alone_and_in_company() -> None:
    logits = torch.randn(5, 40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 3
    specs = ["target-entropy:nats=1.5", "target-entropy", "target-entropy:nats=4", "target-entropy:high=3,nats=5"] * 2
    together = decide(logits, *specs[:5])
    for b in range(5):
        alone = decide(logits[b : b + 1], specs[b])
        assert torch.equal(alone.temperature, together.temperature[b : b + 1])
        assert torch.equal(alone.channel["entropy_gap"], together.channel["entropy_gap"][b : b + 1])


def test_the_trace_says_how_near_the_target_every_token_came() -> None:
    request = Request("Tell me about the sea.", seed=1, max_tokens=60)
    rows = engine.rows_of(request, [parse("target-entropy:nats=3.0", KINDS)])
    *_, end = engine.stream(TinyLM(), request, rows, Resources(no_head))
    assert isinstance(end, Finished)
    (trace,) = end.traces
    assert {step.channel["clipped"] for step in trace.steps} >= {0.0, 1.0}
    for step in trace.steps:
        assert step.entropy_after - 3.0 == pytest.approx(step.channel["entropy_gap"], abs=1e-6)
        assert 0.01 <= step.temperature <= 1.2


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(PlaygroundError, match="`low` must be at most `high`"):
        decide(torch.zeros(1, 3), "target-entropy:low=1,high=0.5")
