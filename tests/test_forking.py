"""Forking: two temperatures, parted by a fixed threshold or by a running percentile of the reply's own entropies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies import fixed, forking
from playground.decoding.policies.base import Head, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request, Trace
from tests.tiny_lm import TinyLM

KINDS = [forking.KIND, fixed.KIND]


def no_head(name: str) -> Head:
    raise AssertionError("the formula reads no head")


def decide(steps: list[Tensor], *specs: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperatures, forking marks and thresholds [T, B] over the logits [B, V] of T steps."""
    rows = tuple(Row(parse(spec, KINDS)) for spec in specs)
    policy, state = forking.Forking(rows, Resources(no_head)), State(rows)
    decisions = []
    for position, logits in enumerate(steps):
        state.position = position
        decisions.append(policy.decide(Distribution(logits), torch.zeros(len(rows), 1), state))
    return (
        torch.stack([d.temperature for d in decisions]).numpy(),
        torch.stack([d.channel["forking"] for d in decisions]).numpy(),
        torch.stack([d.channel["threshold"] for d in decisions]).numpy(),
    )


def with_entropies(count: int, seed: int = 0) -> list[Tensor]:
    """Logits [1, 50] of independent steps with sharpness drawn anew for each."""
    noise = torch.Generator().manual_seed(seed)
    return [
        torch.randn(1, 50, dtype=torch.float64, generator=noise)
        * 6
        * torch.rand(1, dtype=torch.float64, generator=noise)
        for _ in range(count)
    ]


def run(spec: str, tokens: int = 80) -> Trace:
    request = Request("Tell me about the sea.", seed=4, max_tokens=tokens)
    *_, end = engine.stream(TinyLM(), request, engine.rows_of(request, [parse(spec, KINDS)]), Resources(no_head))
    assert isinstance(end, Finished)
    return end.traces[0]


def nats(h: np.ndarray) -> float:
    p = np.exp(h - h.max()) / np.exp(h - h.max()).sum()
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def test_thresholds_and_marks_are_numpys_running_percentile(captured_logits: np.ndarray) -> None:
    steps = [torch.tensor(row[None]).expand(2, -1) for row in captured_logits]
    heats, marks, thresholds = decide(steps, "forking", "forking:percentile=50,high=1.3,low=0")
    entropies = [nats(row) for row in captured_logits]
    for column, percentile, high, low in ((0, 80, 1.0, 0.3), (1, 50, 1.3, 0.0)):
        for t, h in enumerate(entropies):
            expected = np.percentile(entropies[: t + 1], percentile)
            assert thresholds[t, column] == pytest.approx(expected, abs=1e-9)
            assert marks[t, column] == (h > expected)
            assert heats[t, column] == (high if h > expected else low)
    assert 0 < marks[:, 0].sum() < marks[:, 1].sum()


def test_a_fixed_threshold_is_in_nats_at_temperature_one(captured_logits: np.ndarray) -> None:
    steps = [torch.tensor(row[None]) for row in captured_logits]
    heats, marks, thresholds = decide(steps, "forking:threshold=0.672")
    entropies = np.array([nats(row) for row in captured_logits])
    assert (marks[:, 0] == (entropies > 0.672)).all()
    assert (heats[:, 0] == np.where(entropies > 0.672, 1.0, 0.3)).all()
    assert set(thresholds[:, 0]) == {0.672}
    assert marks.mean() > 0.6, "the threshold of an 8B model marks most tokens of a small one"


@pytest.mark.parametrize(("percentile", "share"), [(80, 0.2), (50, 0.5), (95, 0.05)])
def test_in_the_long_run_the_share_above_the_percentile_forks(percentile: int, share: float) -> None:
    _, marks, _ = decide(with_entropies(3000), f"forking:percentile={percentile}")
    assert marks.mean() == pytest.approx(share, abs=0.03)


def test_the_first_token_never_forks_and_the_second_does_if_it_is_less_certain() -> None:
    flat, sharp = torch.zeros(1, 8, dtype=torch.float64), torch.tensor([[9.0, *[0.0] * 7]], dtype=torch.float64)
    assert decide([flat, sharp], "forking")[1][:, 0].tolist() == [0, 0]
    assert decide([sharp, flat], "forking")[1][:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("percentile", [0, 80, 100])
def test_equal_entropies_never_fork(percentile: int) -> None:
    flat = [torch.zeros(1, 8, dtype=torch.float64)] * 12
    assert decide(flat, f"forking:percentile={percentile}")[1].sum() == 0


def test_every_row_has_a_history_of_its_own() -> None:
    steps = [torch.cat(pair) for pair in zip(with_entropies(40, 1), with_entropies(40, 2), strict=True)]
    together = decide(steps, "forking", "forking:low=0.1")
    for b, spec in enumerate(("forking", "forking:low=0.1")):
        alone = decide([step[b : b + 1] for step in steps], spec)
        for both, one in zip(together, alone, strict=True):
            assert (both[:, b] == one[:, 0]).all()


def test_a_trace_tells_its_forks_and_a_note_their_share() -> None:
    trace = run("forking:high=1.2,low=0.5")
    for step in trace.steps:
        assert step.temperature == (1.2 if step.entropy > step.channel["threshold"] else 0.5)
        assert step.channel["forking"] == (step.temperature == 1.2)
    assert forking.KIND.note is not None
    forked = sum(step.channel["forking"] for step in trace.steps) / len(trace.steps)
    sentence = forking.KIND.note(parse("forking:high=1.2,low=0.5", KINDS).values, trace.steps)
    assert sentence.startswith(f"{forked:.0%} of {len(trace.steps)} tokens forked (T = 1.2)")


def test_two_runs_of_one_seed_are_the_same_and_state_is_not_kept_between_them() -> None:
    assert run("forking").id == run("forking").id
    assert math.isclose(run("forking").steps[0].channel["threshold"], run("forking").steps[0].entropy, rel_tol=1e-6)
