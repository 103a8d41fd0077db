"""preference/1: what the app writes is what the trainer reads, and an outcome names a candidate."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from playground.records import OUTCOMES, Outcome, Preference
from tests.samples import make_trace, make_traces


def preference(outcome: Outcome = "a", **values: object) -> Preference:
    a, b = make_traces(3)
    record = Preference("v1", "b1", "human", True, "collect", outcome, "b", 0.25, "Name a city.", "facts", (a,), (b,))
    return replace(record, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_line_through_json_is_the_same_preference(outcome: Outcome) -> None:
    extras = {"strength": "much", "tags": ("dull", "wrong"), "family": None, "propensity": None}
    for record in (preference(outcome), preference(outcome, **extras)):
        line = json.dumps(record.to_record(), ensure_ascii=False, allow_nan=False)
        assert Preference.from_record(json.loads(line)) == record


def test_sides_may_hold_sets_of_replies() -> None:
    sets = preference(a=tuple(make_trace(i) for i in range(3)), b=tuple(make_trace(9 + i) for i in range(2)))
    back = Preference.from_record(json.loads(json.dumps(sets.to_record())))
    assert (len(back.a), len(back.b)) == (3, 2)
    assert back == sets


def test_the_winner_is_a_candidate_wherever_it_stood() -> None:
    for left in ("a", "b"):
        won = preference("b", left=left)
        assert (won.chosen, won.rejected) == (won.b, won.a)
        assert (preference("a", left=left).chosen, preference("a", left=left).rejected) == (won.a, won.b)


@pytest.mark.parametrize("outcome", ["tie", "both_bad"])
def test_nobody_is_chosen_where_nobody_won(outcome: Outcome) -> None:
    assert preference(outcome).chosen is None
    assert preference(outcome).rejected is None


@pytest.mark.parametrize("outcome", ["left", "A", "leftvote", "", None])
def test_an_unknown_outcome_is_refused_with_the_known_ones(outcome: object) -> None:
    with pytest.raises(ValueError, match="must be one of a, b, tie, both_bad"):
        Preference.from_record({**preference().to_record(), "outcome": outcome})


def test_another_format_and_a_tampered_side_are_refused() -> None:
    with pytest.raises(ValueError, match="must be 'preference/1'"):
        Preference.from_record({**preference().to_record(), "format": "preference/2"})
    record = preference().to_record()
    record["b"][0]["text"] += "!"
    with pytest.raises(ValueError, match="does not match its content"):
        Preference.from_record(record)


@pytest.mark.parametrize("line", [[], 5, "x", None, True])
def test_a_line_that_is_no_object_is_refused(line: object) -> None:
    with pytest.raises(ValueError, match="must be a JSON object"):
        Preference.from_record(line)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("prompt", [5, None, ["x"]]),
        ("family", [5, ["x"]]),
        ("source", [None, ["human"]]),
        ("vote_id", [5]),
        ("blind", ["yes", 1]),
        ("propensity", ["half"]),
        ("tags", ["dull", 5, None]),
        ("spans", [{}, None]),
        ("strength", ["big", 2, ["much"]]),
        ("left", ["middle", None]),
        ("mode", ["play", None]),
        ("a", [[], None, "x", 5, {}, ["x"], [[]], [5], [None]]),
        ("b", [[], [{}], [{"format": "trace/2"}]]),
    ],
)
def test_a_field_of_another_type_is_refused_by_its_name(field: str, values: list[object]) -> None:
    record = preference().to_record()
    for value in values:
        with pytest.raises(ValueError, match=f"`{field}`.* must (be|hold)"):
            Preference.from_record({**record, field: value})


@pytest.mark.parametrize("field", [name for name in preference().to_record() if name not in ("format", "strength")])
def test_a_field_that_is_missing_and_one_too_many_are_refused(field: str) -> None:
    record = preference().to_record()
    with pytest.raises(ValueError, match=f"`{field}` must be"):
        Preference.from_record({name: value for name, value in record.items() if name != field})
    with pytest.raises(ValueError, match="`votes` must not be given"):
        Preference.from_record({**record, "votes": 1})


@pytest.mark.parametrize(
    "damage",
    [
        lambda trace: trace.update(policy=5),
        lambda trace: trace.update(prompt_ids=["x"]),
        lambda trace: trace.update(grid=["cold"]),
        lambda trace: trace.update(order=[5]),
        lambda trace: trace.update(steps=5),
        lambda trace: trace.update(steps=["x"]),
        lambda trace: trace["steps"][0].update(temperature="hot"),
        lambda trace: trace["steps"][0].update(token_id="x"),
        lambda trace: trace["steps"][0].update(grid_index="x"),
        lambda trace: trace["steps"][0].update(grid_index=7),
        lambda trace: trace["steps"][0].update(alternatives=5),
        lambda trace: trace["steps"][0].update(more=5),
        lambda trace: trace.pop("stop"),
    ],
)
def test_a_reply_without_what_its_readers_count_on_is_refused(damage: Callable[[dict[str, Any]], None]) -> None:
    record = copy.deepcopy(preference().to_record())
    del record["a"][0]["id"]  # the id would tell
    assert Preference.from_record(copy.deepcopy(record)) == preference()
    damage(record["a"][0])
    with pytest.raises(ValueError, match="`a` must"):
        Preference.from_record(record)


def test_a_vote_without_its_strength_has_none() -> None:
    record = preference().to_record()
    del record["strength"]
    assert Preference.from_record(record) == preference()
