"""The lanes of the form as the server reads them: what cannot run is named by its lane."""

from __future__ import annotations

from typing import Any

import pytest

from playground.config import Settings
from playground.decoding.policies.spec import spelt
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
        (["edt", "shuffled:of=?", "matched:of=?"], "Lanes 2 and 3 followed a lane that was removed"),
        (["shuffled:of=?", "x", "matched:of=?", "shuffled:of=?"], "Lanes 1, 3 and 4 followed a lane that was removed"),
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


@pytest.mark.parametrize(
    ("typed", "near"), [("FIXED", "'fixed'"), ("mirostat-3", "'mirostat"), ("Min_P", "'min-p'"), ("", "")]
)
def test_an_unknown_policy_is_answered_with_the_nearest_and_the_menu(parts: Any, typed: str, near: str) -> None:
    with pytest.raises(PlaygroundError) as refused:
        read_lanes(parts, ["edt", typed])
    assert near in refused.value.page
    assert refused.value.page.endswith("choose one from the menu of its lane.")
    with pytest.raises(PlaygroundError, match="choose one of fixed, min-p"):
        parts.catalogue.parse(typed)


@pytest.mark.parametrize(
    ("typed", "short"),
    [
        ("min-p:p=.05", "min-p:p=0.05"),
        ("min-p:p=0.1", "min-p"),
        (" eta:temperature=.7,cutoff=1e-3", "eta:cutoff=0.001,temperature=0.7"),
        ("typical:p=.9,top_k=5", "typical:p=0.9,top_k=5"),
        ("fixed:min_p=.05", "fixed:min_p=0.05"),
        ("shuffled:of=1", "shuffled:of=1"),
    ],
)
def test_a_spec_keeps_the_name_it_was_given(parts: Any, typed: str, short: str) -> None:
    assert spelt(typed, parts.catalogue.kinds) == short
    assert parts.catalogue.parse(short) == parts.catalogue.parse(typed)
