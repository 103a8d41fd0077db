"""preference/1: what the app writes is what the trainer reads, and an outcome names a candidate."""

from __future__ import annotations

import json
from dataclasses import replace

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
