"""Marks: the tokens that overlap a flaw of the rejected reply, and only of it."""

from dataclasses import replace

import pytest

from playground.decoding.trace import Request
from playground.training.labels.lanes import replies
from playground.training.labels.marks import marked, tokens_of
from playground.training.labels.pairing import Candidate, preference


@pytest.fixture
def trace(tiny):
    return replies(tiny, Request("Prompt?", max_tokens=6), ["fixed:temperature=1"], {})[0]


def spelled(trace, pieces):
    steps = [replace(trace.steps[0], position=i, text=piece) for i, piece in enumerate(pieces)]
    return trace.with_steps(steps, "length")


def test_tokens_that_overlap_a_run_of_characters(trace):
    found = spelled(trace, ["The ", "gre", "lb", "ix", " ran", "", "."])
    assert tokens_of(found, [(4, 11)]) == [(1, 4)]
    assert tokens_of(found, [(0, 1), (5, 8), (11, 13)]) == [(0, 3), (4, 5)]
    assert tokens_of(found, []) == []


def test_the_rejected_reply_alone_is_marked(trace):
    sound, flawed = spelled(trace, ["The ", "dog ", "ran."]), spelled(trace, ["The ", "grel", "bix ", "ran."])
    vote = preference("v", "Prompt?", "stories", Candidate((sound,), 1.0, 0.4), Candidate((flawed,), 0.5, 1.2))
    assert marked(vote, "few-flaws").spans == ({"arm": "b", "start": 1, "stop": 3},)
    turned = replace(vote, outcome="b", a=vote.b, b=vote.a)
    assert marked(turned, "few-flaws").spans == ({"arm": "a", "start": 1, "stop": 3},)


def test_other_metrics_ties_and_sets_stay_unmarked(trace):
    flawed = Candidate((spelled(trace, ["grelbix"]),), 0.0, 1.2)
    vote = preference("v", "Prompt?", "facts", flawed, flawed)
    assert marked(vote, "contains-answer") == vote
    assert marked(replace(vote, outcome="tie"), "few-flaws").spans == ()
    assert marked(replace(vote, b=vote.b * 2), "few-flaws").spans == ()
