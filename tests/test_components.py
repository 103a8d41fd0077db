"""What the picker is given: every policy that streams, with controls that fit, and why one cannot run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from playground.config import Settings
from playground.decoding.policies.spec import FILTER_KEYS
from playground.errors import PlaygroundError
from playground.ui.components import component, missing, policies
from playground.ui.lanes import streamed
from tests.scripted import ScriptedParts


@pytest.fixture
def parts(settings: Settings) -> Any:
    return ScriptedParts(settings)


def given(parts: Any) -> dict[str, Any]:
    """The constant that the picker's script gets."""
    script = policies(parts, ["edt", "fixed"]).js_on_load
    return json.loads(script.splitlines()[0].removeprefix("const fixed = ").removesuffix(";"))  # type: ignore[no-any-return]


def test_the_picker_offers_every_policy_that_streams_and_no_other(parts: Any) -> None:
    offered = [kind["name"] for kind in given(parts)["kinds"]]
    assert sorted(offered) == sorted(kind.name for kind in parts.catalogue.kinds if kind.streams)
    groups = [kind["group"] for kind in given(parts)["kinds"]]
    assert groups == sorted(groups, key=groups.index)  # each heading once


def test_every_knob_of_a_policy_has_its_control_and_every_filter_is_there_once(parts: Any) -> None:
    told = given(parts)
    filters = {key["name"] for key in told["filters"]}
    assert filters == {key.name for key in FILTER_KEYS}
    for kind in told["kinds"]:
        policy = next(k for k in parts.catalogue.kinds if k.name == kind["name"])
        knobs = [key["name"] for key in kind["knobs"]]
        assert {*knobs, *kind["filters"]} == {key.name for key in policy.all_keys}
        assert set(kind["filters"]) <= filters
        assert knobs[: len(policy.keys)] == [key.name for key in policy.keys]
        assert len(set(knobs)) == len(knobs)


def test_a_learned_policy_lists_only_checkpoints_of_its_kind_and_says_when_there_is_none(parts: Any) -> None:
    kinds = {kind["name"]: kind for kind in given(parts)["kinds"]}
    assert kinds["adaptive-token"]["checkpoints"] == kinds["shuffled"]["checkpoints"] == ["token-head"]
    assert kinds["adaptive-sequence"]["checkpoints"] == ["sequence-head"]
    assert not kinds["adaptive-token"]["missing"]
    assert kinds["auto-deco"]["missing"] == "no trained auto-deco fits scripted"
    assert not kinds["shuffled"]["missing"]
    assert not kinds["fixed"]["missing"]


def test_a_small_model_makes_up_for_a_missing_lens(parts: Any, settings: Settings) -> None:
    kind = next(k for k in parts.catalogue.kinds if k.learned == "tuned-lens")
    assert missing(parts, kind)
    parts.settings = replace(settings, small_model="another")
    assert not missing(parts, kind)


def test_a_policy_that_shows_nothing_before_its_end_is_sent_to_the_command_line(parts: Any) -> None:
    late = next(kind for kind in parts.catalogue.kinds if not kind.streams)
    with pytest.raises(PlaygroundError, match=f"generate --policy {late.name}"):
        streamed(parts, late.name)
    assert str(streamed(parts, "min-p:p=0.2").short) == "fixed:min_p=0.2"


def test_constants_reach_the_script_as_they_are() -> None:
    built = component("methods", None, groups=[], lead=["`a` ${b} {{c}}"])
    assert "${" not in built.html_template
    assert json.loads(built.js_on_load.splitlines()[0].removeprefix("const fixed = ").removesuffix(";"))["lead"]
