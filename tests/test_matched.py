"""The matched control: one constant temperature with another lane's mean entropy, or its mean temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import pytest
import torch

from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies import edt, fixed, matched
from playground.decoding.policies.base import Donor, Head, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request, Trace
from playground.errors import PlaygroundError
from tests.tiny_lm import TinyLM

KINDS = (fixed.KIND, edt.KIND, matched.kind("trained"))
ASKED = Request("Tell me about the sea.", seed=3, max_tokens=60)


def head(name: str) -> Head:
    constant = None if name == "uncalibrated" else 0.625
    return Head(f"{name}@1", "token", (0.0, 0.5, 1.0), torch.log_softmax, (0.5, 0.25, 0.25), constant)


def run(model: TinyLM, specs: Sequence[str], request: Request = ASKED) -> tuple[Trace, ...]:
    rows = engine.rows_of(request, [parse(spec, KINDS) for spec in specs])
    (*_, end) = engine.stream(model, request, rows, Resources(head))
    assert isinstance(end, Finished)
    return end.traces


def constant(spec: str, donors: Mapping[int, Donor] | None = None) -> float:
    rows = (Row(parse(spec, KINDS)),)
    policy = matched.Matched(rows, Resources(head, donors=donors or {}))
    return float(policy.decide(Distribution(torch.zeros(1, 3)), torch.zeros(1, 1), State(rows)).temperature)


def entropies(logits: np.ndarray, temperatures: Sequence[float]) -> list[float]:
    """H(softmax(h / T)) in nats, row by row."""
    found = []
    for row, t in zip(logits, temperatures, strict=True):
        weights = np.exp((row - row.max()) / t)
        p = weights / weights.sum()
        found.append(-float((p[p > 0] * np.log(p[p > 0])).sum()))
    return found


def donor(logits: np.ndarray, temperatures: Sequence[float]) -> Donor:
    return Donor(temperatures, entropies(logits, temperatures), lambda: torch.tensor(logits))


def test_equals_a_slow_bisection_on_captured_logits(captured_logits: np.ndarray) -> None:
    logits = captured_logits[:10]
    for temperatures in ([0.2 + 0.1 * i for i in range(10)], [1.6, 0.1] * 5):
        wanted = fmean(entropies(logits, temperatures))
        low, high = 0.01, 5.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if fmean(entropies(logits, [middle] * 10)) < wanted else (low, middle)
        assert constant("matched:of=1", {1: donor(logits, temperatures)}) == pytest.approx(low, abs=1e-4)
        by_temperature = constant("matched:of=1,by=temperature", {1: donor(logits, temperatures)})
        assert by_temperature == pytest.approx(fmean(temperatures), abs=1e-12)
        assert abs(by_temperature - low) > 0.01


@pytest.mark.parametrize("temperature", [0.02, 0.3, 1.0, 2.7, 4.9])
def test_a_constant_lane_is_matched_by_its_own_temperature(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (150, 300))
    assert constant("matched:of=2", {2: donor(logits, [temperature] * 150)}) == pytest.approx(temperature, rel=1e-6)


def test_a_greedy_lane_is_matched_greedily_and_the_range_ends_at_its_ends() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (20, 300))

    def solved(entropy: float) -> float:
        return constant("matched:of=1", {1: Donor([0.0] * 20, [entropy] * 20, lambda: torch.tensor(logits))})

    assert solved(0.0) == 0.0
    assert solved(1e-12) == matched.LOW
    assert solved(math.log(300)) == matched.HIGH


def test_the_mean_entropy_rises_with_the_temperature_as_its_derivative_says(captured_logits: np.ndarray) -> None:
    logits = [torch.tensor(captured_logits[:5]), torch.tensor(captured_logits[5:8])]
    for t in (0.05, 0.5, 1.0, 3.0):
        around = [matched.mean_entropy(logits, t * math.exp(d))[0] for d in (-1e-5, 1e-5)]
        mean, slope = matched.mean_entropy(logits, t)
        assert mean == pytest.approx(fmean(entropies(captured_logits[:8], [t] * 8)), abs=1e-9)
        assert (around[1] - around[0]) / 2e-5 == pytest.approx(slope, rel=1e-4)
        assert slope > 0


def test_a_lane_follows_another_with_one_temperature_of_equal_entropy() -> None:
    model = TinyLM(end_bias=-99.0)
    first, follower, mean = run(model, ["edt:t0=1.5", "matched:of=1", "matched:of=1,by=temperature"])
    (t,), (t_mean,) = ({step.temperature for step in trace.steps} for trace in (follower, mean))
    assert t_mean == pytest.approx(fmean(step.temperature for step in first.steps), rel=1e-8)
    ids, logits = list(first.prompt_ids), []
    for step in first.steps:
        logits.append(model.prefill(ids)[0].logits[0].double().numpy())
        ids.append(step.token_id)
    drawn = fmean(step.entropy_after for step in first.steps)
    assert len({step.temperature for step in first.steps}) > 20
    assert fmean(entropies(np.array(logits), [t] * len(logits))) == pytest.approx(drawn, abs=1e-4)


def test_it_may_stand_before_the_lane_it_follows() -> None:
    model = TinyLM(end_bias=-99.0)
    after = run(model, ["edt", "matched:of=1"])[1]
    before = run(model, ["matched:of=2", "edt"])[0]
    assert {step.temperature for step in after.steps} == {step.temperature for step in before.steps}


def test_alone_it_takes_the_calibrated_constant_and_names_the_checkpoint(tiny: TinyLM) -> None:
    trace, by_temperature = run(tiny, ["matched", "matched:by=temperature"])
    assert {step.temperature for step in trace.steps} == {0.625}
    assert {step.temperature for step in by_temperature.steps} == {0.375}
    assert trace.checkpoint == "trained@1"


def test_a_checkpoint_without_calibration_names_the_command(tiny: TinyLM) -> None:
    with pytest.raises(
        PlaygroundError, match=r"'uncalibrated' .* `python -m playground calibrate --head uncalibrated`"
    ):
        run(tiny, ["matched:checkpoint=uncalibrated"])
    run(tiny, ["matched:checkpoint=uncalibrated,by=temperature"])


@pytest.mark.parametrize("spec", ["matched:of=1", "matched:of=3"])
def test_following_itself_or_nothing_is_refused(tiny: TinyLM, spec: str) -> None:
    with pytest.raises(PlaygroundError, match="another lane that decides by itself"):
        run(tiny, [spec, "fixed"])
    with pytest.raises(PlaygroundError, match="another lane that decides by itself"):
        constant(spec)
