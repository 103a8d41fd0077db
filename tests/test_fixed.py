"""`fixed`: every row keeps its own temperature, whatever the model says."""

from __future__ import annotations

import torch

from playground.decoding.distribution import Distribution
from playground.decoding.policies import fixed
from playground.decoding.policies.base import Head, Resources, Row, State
from playground.decoding.policies.spec import parse


def no_head(name: str) -> Head:
    raise AssertionError("a fixed temperature reads no head")


def test_every_row_keeps_its_temperature_at_every_position() -> None:
    heats = [0.0, 0.7, 1.0, 5.0]
    rows = tuple(Row(parse(f"fixed:temperature={t}", [fixed.KIND])) for t in heats)
    policy, state = fixed.Fixed(rows, Resources(no_head)), State(rows)
    for position, sharpness in enumerate((0.1, 1.0, 100.0)):
        state.position = position
        decision = policy.decide(Distribution(torch.randn(4, 9).double() * sharpness), torch.randn(4, 3), state)
        assert decision.temperature.tolist() == heats
        assert decision.keep is None
        assert decision.grid_index is None
    assert policy.grid is None
    assert policy.checkpoint is None
