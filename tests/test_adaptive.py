"""The adaptive policies: they choose from the head's grid, by argmax or by its probabilities."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

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
    decision = policy.decide(torch.zeros(2, 5), torch.tensor([[1.0], [-1.0]]), State(lanes))
    assert decision.temperature.tolist() == [1.2, 0.0]
    assert decision.grid_index is not None
    assert decision.grid_index.tolist() == [3, 0]
    assert decision.grid_logprob is not None
    assert decision.grid_logprob.exp().tolist() == pytest.approx([0.4, 0.4])
    assert (policy.grid, policy.checkpoint) == (GRID, "h@1")


def test_sampled_temperatures_come_as_often_as_the_head_says() -> None:
    lanes = rows("token", "select=sample", 1)
    policy, state = AdaptiveToken(lanes, resources("token")), State(lanes)
    drawn = Counter(float(policy.decide(torch.zeros(1, 5), torch.ones(1, 1), state).temperature) for _ in range(4000))
    assert [drawn[t] / 4000 for t in GRID] == pytest.approx(PROBS.tolist(), abs=0.03)


def test_the_sequence_level_decides_once_and_from_the_first_state() -> None:
    lanes = rows("sequence", "select=argmax", 1)
    policy, state = AdaptiveSequence(lanes, resources("sequence")), State(lanes)
    first = policy.decide(torch.zeros(1, 5), torch.tensor([[-1.0]]), state)
    state.position = 1
    assert policy.decide(torch.zeros(1, 5), torch.tensor([[1.0]]), state) is first
    assert float(first.temperature) == 0.0


def test_one_replica_alone_follows_the_heads_probabilities() -> None:
    """Drawing without replacement must not change what a single replica draws, whichever it is."""
    for replica in (0, 2):
        drawn: Counter[float] = Counter()
        for seed in range(3000):
            lane = (rows("sequence", "select=sample", 4, seed)[replica],)
            policy = AdaptiveSequence(lane, resources("sequence"))
            drawn[float(policy.decide(torch.zeros(1, 5), torch.ones(1, 1), State(lane)).temperature)] += 1
        if replica == 0:
            assert [drawn[t] / 3000 for t in GRID] == pytest.approx(PROBS.tolist(), abs=0.035)
        else:
            assert set(drawn) == set(GRID)


def test_more_replicas_than_temperatures_begin_a_new_round() -> None:
    lanes = rows("sequence", "select=sample", 8)
    policy = AdaptiveSequence(lanes, resources("sequence"))
    heats = policy.decide(torch.zeros(8, 5), torch.ones(8, 1), State(lanes)).temperature.tolist()
    assert sorted(heats[:4]) == sorted(heats[4:]) == list(GRID)


@pytest.mark.parametrize(("level", "other"), [("token", "sequence"), ("sequence", "token")])
def test_a_head_of_the_other_level_is_refused(level: str, other: str) -> None:
    policy = AdaptiveToken if level == "token" else AdaptiveSequence
    with pytest.raises(PlaygroundError, match=f"decides per {other}; use it with adaptive-{other}"):
        policy(rows(level, "select=argmax", 1), resources(other))
