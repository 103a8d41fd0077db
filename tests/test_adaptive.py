"""The adaptive policies: they choose from the head's grid, by argmax or by its probabilities."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from playground.decoding.distribution import Distribution
from playground.decoding.policies.adaptive import AdaptiveSequence, AdaptiveToken, kind
from playground.decoding.policies.base import Head, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.errors import PlaygroundError

GRID = (0.0, 0.4, 0.8, 1.2)
PROBS = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def resources(level: str) -> Resources:
    """A head that turns its probabilities around where the first coordinate of the state is negative."""

    def log_probs(hidden: Tensor) -> Tensor:
        return torch.stack([(PROBS if h[0] >= 0 else PROBS.flip(0)).log() for h in hidden])

    return Resources(lambda name: Head(f"{name}@1", level, GRID, log_probs, (0.25,) * 4))  # type: ignore[arg-type]


def rows(level: str, text: str, count: int, seed: int = 0) -> tuple[Row, ...]:
    spec = parse(f"adaptive-{level}:{text}", [kind(level, "h")])
    return tuple(Row(spec, replica, seed) for replica in range(count))


def test_argmax_takes_the_likeliest_temperature_of_each_rows_own_state() -> None:
    lanes = rows("token", "select=argmax", 2)
    policy = AdaptiveToken(lanes, resources("token"))
    decision = policy.decide(Distribution(torch.zeros(2, 5)), torch.tensor([[1.0], [-1.0]]), State(lanes))
    assert decision.temperature.tolist() == [1.2, 0.0]
    assert decision.grid_index is not None
    assert list(decision.grid_index) == [3, 0]
    assert decision.grid_logprob is not None
    assert [math.exp(p) for p in decision.grid_logprob] == pytest.approx([0.4, 0.4])
    assert (policy.grid, policy.checkpoint) == (GRID, "h@1")


def test_sampled_temperatures_come_as_often_as_the_head_says() -> None:
    lanes = rows("token", "select=sample", 1)
    policy, state = AdaptiveToken(lanes, resources("token")), State(lanes)
    drawn = Counter(
        float(policy.decide(Distribution(torch.zeros(1, 5)), torch.ones(1, 1), state).temperature) for _ in range(4000)
    )
    assert [drawn[t] / 4000 for t in GRID] == pytest.approx(PROBS.tolist(), abs=0.03)


def test_the_sequence_level_decides_once_and_from_the_first_state() -> None:
    lanes = rows("sequence", "select=argmax", 1)
    policy, state = AdaptiveSequence(lanes, resources("sequence")), State(lanes)
    first = policy.decide(Distribution(torch.zeros(1, 5)), torch.tensor([[-1.0]]), state)
    state.position = 1
    assert policy.decide(Distribution(torch.zeros(1, 5)), torch.tensor([[1.0]]), state) is first
    assert float(first.temperature) == 0.0


def test_one_replica_alone_follows_the_heads_probabilities() -> None:
    """Drawing without replacement must not change what a single replica draws, whichever it is."""
    for replica in (0, 2):
        drawn: Counter[float] = Counter()
        for seed in range(3000):
            lane = (rows("sequence", "select=sample", 4, seed)[replica],)
            policy = AdaptiveSequence(lane, resources("sequence"))
            drawn[float(policy.decide(Distribution(torch.zeros(1, 5)), torch.ones(1, 1), State(lane)).temperature)] += 1
        if replica == 0:
            assert [drawn[t] / 3000 for t in GRID] == pytest.approx(PROBS.tolist(), abs=0.035)
        else:
            assert set(drawn) == set(GRID)


def test_more_replicas_than_temperatures_begin_a_new_round() -> None:
    lanes = rows("sequence", "select=sample", 8)
    policy = AdaptiveSequence(lanes, resources("sequence"))
    heats = policy.decide(Distribution(torch.zeros(8, 5)), torch.ones(8, 1), State(lanes)).temperature.tolist()
    assert sorted(heats[:4]) == sorted(heats[4:]) == list(GRID)


def at_quantile(quantile: float, probs: list[float]) -> tuple[float, float]:
    """The temperature that the quantile exit takes from a head with these probabilities, and its log-probability."""
    lanes = rows("token", f"select=quantile,quantile={quantile}", 1)
    logs = torch.tensor([probs], dtype=torch.float64).log()
    found = Resources(lambda name: Head(name, "token", GRID, lambda hidden: logs, (0.25,) * 4))
    decision = AdaptiveToken(lanes, found).decide(Distribution(torch.zeros(1, 5)), torch.zeros(1, 1), State(lanes))
    assert decision.grid_logprob is not None
    return float(decision.temperature), decision.grid_logprob[0]


@pytest.mark.parametrize(
    ("quantile", "expected"), [(1e-9, 0.0), (0.09, 0.0), (0.11, 0.4), (0.29, 0.4), (0.5, 0.8), (0.61, 1.2), (1.0, 1.2)]
)
def test_the_quantile_exit_takes_the_coldest_temperature_that_reaches_it(quantile: float, expected: float) -> None:
    assert at_quantile(quantile, PROBS.tolist()) == (expected, pytest.approx(PROBS[GRID.index(expected)].log().item()))


def test_the_quantile_exit_on_its_thresholds_and_past_impossible_temperatures() -> None:
    probs = [0.25, 0.25, 0.5, 0.0]
    assert [at_quantile(q, probs)[0] for q in (0.25, 0.26, 0.5, 0.51, 1.0)] == [0.0, 0.4, 0.4, 0.8, 0.8]


def test_the_quantile_exit_settles_between_two_camps_where_argmax_takes_one() -> None:
    assert at_quantile(0.5, [0.45, 0.05, 0.05, 0.45])[0] == 0.4
    assert at_quantile(0.5, [0.44, 0.04, 0.04, 0.48])[0] == 0.8


def test_a_higher_quantile_never_cools_and_each_row_has_its_own() -> None:
    heats = [at_quantile(q / 50, PROBS.tolist())[0] for q in range(1, 51)]
    assert heats == sorted(heats)
    specs = ("select=quantile,quantile=0.05", "select=argmax", "select=quantile,quantile=0.95")
    lanes = tuple(rows("token", spec, 1)[0] for spec in specs)
    decided = AdaptiveToken(lanes, resources("token")).decide(
        Distribution(torch.zeros(3, 5)), -torch.ones(3, 1), State(lanes)
    )
    assert decided.temperature.tolist() == [0.0, 0.0, 1.2]  # the head turned around: .4, .3, .2, .1


def test_the_quantile_exit_of_a_reply_is_decided_once() -> None:
    lanes = rows("sequence", "select=quantile,quantile=0.7", 2)
    policy = AdaptiveSequence(lanes, resources("sequence"))
    first = policy.decide(Distribution(torch.zeros(2, 5)), torch.tensor([[1.0], [-1.0]]), State(lanes))
    assert first.temperature.tolist() == [1.2, 0.4]
    assert policy.decide(Distribution(torch.zeros(2, 5)), torch.tensor([[-1.0], [1.0]]), State(lanes)) is first


@pytest.mark.parametrize(("level", "other"), [("token", "sequence"), ("sequence", "token")])
def test_a_head_of_the_other_level_is_refused(level: str, other: str) -> None:
    policy = AdaptiveToken if level == "token" else AdaptiveSequence
    with pytest.raises(PlaygroundError, match=f"decides per {other}; use it with adaptive-{other}"):
        policy(rows(level, "select=argmax", 1), resources(other))
