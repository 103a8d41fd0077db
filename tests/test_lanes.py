"""The lanes of the form as the server reads them: what cannot run is named by its lane."""

from __future__ import annotations

from typing import Any

import pytest

from playground.config import Settings
from playground.errors import PlaygroundError
from playground.ui.lanes import read_lanes
from tests.scripted import ScriptedParts


@pytest.fixture
def parts(settings: Settings) -> Any:
    return ScriptedParts(settings)


def test_lanes_that_follow_others_are_read(parts: Any) -> None:
    specs = read_lanes(parts, ["edt", "shuffled:of=1", "matched:of=1"])
    assert [spec.values.get("of", 0) for spec in specs] == [0, 1, 1]


@pytest.mark.parametrize(
    ("specs", "named"),
    [
        (["edt", "FIXED"], "Lane 2: There is no policy 'FIXED'"),
        (["fixed:temperature=1e9", "edt"], "Lane 1: `temperature` must be a number from 0 to 5"),
        (["edt", "fixed:top_k=1.5"], "Lane 2: `top_k` must be a whole number"),
        (["edt", "fixed:temperature=?"], "Lane 2: `temperature` must be"),
        (["edt", "shuffled:of=?"], "Lane 2 followed a lane that was removed"),
        (["edt", "edt", "matched:by=entropy,of=?"], "Lane 3 followed a lane that was removed"),
        (["edt", "shuffled:of=4"], "Lane 2 follows lane 4, but there are 2"),
        (["edt", "shuffled:of=2"], "Lane 2 cannot follow itself"),
        (["shuffled:of=2", "matched:of=1"], "Lane 1 follows lane 2, which follows a lane itself"),
        (["edt", "fixed" + "," * 3000], "Lane 2: A policy must be spelt"),
        (["edt", ""], "Lane 2: There is no policy ''"),
        (["edt"], "two to four lanes"),
        ("edt", "two to four lanes"),
        (["edt", 5], "two to four lanes"),
    ],
)
def test_a_lane_that_cannot_run_is_refused_by_its_number(parts: Any, specs: Any, named: str) -> None:
    with pytest.raises(PlaygroundError) as refused:
        read_lanes(parts, specs)
    assert named in str(refused.value)
    assert str(refused.value).endswith(".")
