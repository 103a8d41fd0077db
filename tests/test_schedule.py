"""Schedules: exact ends, the two shapes, and nothing but the position."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies import fixed, schedule
from playground.decoding.policies.base import Head, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request
from tests.tiny_lm import TinyLM

KINDS = [schedule.KIND, fixed.KIND]


def no_head(name: str) -> Head:
    raise AssertionError("the position reads no head")


def heats(spec: str, tokens: int, length: int) -> list[float]:
    rows = (Row(parse(spec, KINDS)),)
    policy, state = schedule.Schedule(rows, Resources(no_head)), State(rows, length)
    found = []
    for position in range(tokens):
        state.position = position
        logits = torch.randn(1, 5).double() * position
        found.append(float(policy.decide(Distribution(logits), torch.zeros(1, 1), state).temperature))
    return found


@pytest.mark.parametrize(("start", "end"), [(1.2, 0.2), (0.0, 1.0), (0.7, 0.7)])
def test_linear_is_evenly_spaced_from_start_to_end(start: float, end: float) -> None:
    assert heats(f"schedule:start={start},end={end}", 11, 11) == pytest.approx(list(np.linspace(start, end, 11)))


def test_cosine_has_the_same_ends_and_middle_and_half_the_way_by_thirds() -> None:
    found = heats("schedule:start=1,end=0,shape=cosine", 13, 13)
    assert (found[0], found[-1]) == (1.0, 0.0)
    assert found[6] == pytest.approx(0.5)
    assert found[4] == pytest.approx(0.75)  # a third of the way: (1 + cos 60°) / 2
    assert found == sorted(found, reverse=True)
    drops = -np.diff(found)
    assert drops[0] < drops[5] > drops[-1], "slow at both ends"


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_over_ends_the_slide_early_and_the_end_holds(shape: str) -> None:
    found = heats(f"schedule:start=1.2,end=0.2,over=5,shape={shape}", 12, 100)
    assert found[0] == 1.2
    assert found[4:] == [0.2] * 8
    assert found[3] > 0.2


@pytest.mark.parametrize("spec", ["schedule", "schedule:over=1", "schedule:shape=cosine"])
def test_a_reply_of_one_token_starts(spec: str) -> None:
    assert heats(spec, 1, 1) == [1.2]


def test_the_length_is_the_replys_limit_and_rows_keep_their_own_knobs() -> None:
    request = Request("Tell me about the sea.", seed=1, max_tokens=30)
    specs = ["schedule", "schedule:start=0.1,end=2,shape=cosine,over=10", "fixed"]
    rows = engine.rows_of(request, [parse(spec, KINDS) for spec in specs])
    *_, end = engine.stream(TinyLM(end_bias=-40), request, rows, Resources(no_head))
    assert isinstance(end, Finished)
    first, second, _ = ([step.temperature for step in trace.steps] for trace in end.traces)
    assert first == pytest.approx(list(np.linspace(1.2, 0.2, 30)))
    wave = [0.1 + 1.9 * (1 - math.cos(math.pi * min(i / 9, 1))) / 2 for i in range(30)]
    assert second == pytest.approx(wave, abs=1e-8)
