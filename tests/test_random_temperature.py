"""Random temperatures: uniform over the grid, blind to the model, one a token or one a reply."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies import fixed, random_temperature
from playground.decoding.policies.base import Head, Resources, Row, State
from playground.decoding.policies.random_temperature import GRID, RandomTemperature
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request, Trace
from tests.tiny_lm import TinyLM

KINDS = [random_temperature.KIND, fixed.KIND]


def no_head(name: str) -> Head:
    raise AssertionError("chance reads no head")


def heats(specs: list[str], steps: int, seed: int = 0, sharpness: float = 1.0) -> list[list[float]]:
    """Temperatures by step and row."""
    rows = tuple(Row(parse(spec, KINDS), replica, seed) for replica, spec in enumerate(specs))
    policy, state = RandomTemperature(rows, Resources(no_head)), State(rows)
    logits = torch.randn(len(rows), 9).double() * sharpness
    return [
        policy.decide(Distribution(logits), torch.zeros(len(rows), 1), state).temperature.tolist() for _ in range(steps)
    ]


def run(*specs: str, **asked: object) -> tuple[Trace, ...]:
    request = Request("Tell me about the sea.", seed=7, max_tokens=40, **asked)  # type: ignore[arg-type]
    rows = engine.rows_of(request, [parse(spec, KINDS) for spec in specs])
    *_, end = engine.stream(TinyLM(end_bias=-40), request, rows, Resources(no_head))
    assert isinstance(end, Finished)
    return end.traces


def test_every_temperature_comes_equally_often_by_a_chi_square() -> None:
    counts = Counter(step[0] for step in heats(["random"], 7000))
    assert set(counts) == set(GRID)
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 22.46  # 6 degrees of freedom, 0.1 %
    seeds = Counter(heats(["random:per=reply"], 1, seed)[0][0] for seed in range(3500))
    assert sum((seeds[t] - 500) ** 2 / 500 for t in GRID) < 22.46


def test_per_reply_keeps_its_first_draw_and_per_token_does_not_beside_it() -> None:
    steps = heats(["random:per=reply", "random", "random:per=reply"], 30)
    assert [len({step[row] for step in steps}) for row in (0, 2)] == [1, 1]
    assert len({step[1] for step in steps}) > 3
    assert len({heats(["random:per=reply"] * 6, 1)[0][r] for r in range(6)}) > 1, "replicas draw for themselves"


def test_neither_the_model_nor_the_company_changes_the_draws() -> None:
    alone = [step[0] for step in heats(["random"], 20, sharpness=0.1)]
    assert alone == [step[0] for step in heats(["random", "random:per=reply"], 20, sharpness=50)]


@pytest.mark.parametrize("per", ["token", "reply"])
def test_the_trace_carries_the_grid_and_its_probabilities(per: str) -> None:
    (trace,) = run(f"random:per={per}")
    assert trace.grid == GRID
    for step in trace.steps:
        assert step.grid_index is not None
        assert step.temperature == GRID[step.grid_index]
        assert step.grid_logprob == pytest.approx(-math.log(7))
        assert step.grid_probs == pytest.approx([1 / 7] * 7)
    assert len({step.temperature for step in trace.steps}) == (1 if per == "reply" else 7)


def test_the_token_stream_is_left_alone() -> None:
    """With shared noise, a random reply that drew T = 1 throughout is the reply of a fixed T = 1."""
    for seed in range(60):
        request = Request("Tell me about the sea.", seed=seed, max_tokens=12, noise="shared")
        rows = engine.rows_of(request, [parse(spec, KINDS) for spec in ("random:per=reply", "fixed")])
        *_, end = engine.stream(TinyLM(), request, rows, Resources(no_head))
        assert isinstance(end, Finished)
        drawn, plain = end.traces
        if drawn.steps[0].temperature == 1.0:
            assert drawn.token_ids == plain.token_ids
            return
    raise AssertionError("no seed drew T = 1")
