"""The server's memory of runs is bounded, frozen when stopped, and sealed until the vote."""

from __future__ import annotations

import pytest

from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import LaneStep, Request
from playground.errors import PlaygroundError
from playground.ui.heading import Heading
from playground.ui.runs import Run, Runs
from tests.scripted import END, header, step

REQUEST = Request("hello")


def new_run(sealed: bool = False, request: Request = REQUEST) -> Run:
    run = Run(request, 1, sealed=sealed)
    run.start([header(request, "edt")], [Heading(catalogue({}).parse("edt"))])
    return run


def test_the_least_recently_used_run_is_forgotten_first() -> None:
    runs = Runs(capacity=2)
    first, second = runs.add(new_run()), runs.add(new_run())
    runs.get(first.id)
    runs.add(new_run())
    assert runs.get(first.id) is first
    with pytest.raises(PlaygroundError, match="generate again"):
        runs.get(second.id)


def test_tokens_are_bounded_too() -> None:
    runs = Runs(capacity=100, tokens=10)
    for _ in range(5):
        run = runs.add(new_run())
        run.append([LaneStep(0, step(i, "x")) for i in range(8)])
    runs.add(new_run())
    assert len(runs) == 2


@pytest.mark.parametrize("run_id", [None, 5, "", "nobody", {"run": 1}])
def test_an_id_that_is_none_is_one_sentence(run_id: object) -> None:
    with pytest.raises(PlaygroundError):
        Runs().get(run_id)


def test_stopping_keeps_what_streamed_and_ignores_what_comes_late() -> None:
    run = new_run()
    run.append([LaneStep(0, step(0, "a")), LaneStep(0, step(1, "b"))])
    run.cancel()
    run.append([LaneStep(0, step(2, "c"))])
    (trace,) = run.traces
    assert (trace.text, trace.stop) == ("ab", "cancelled")
    run.finish([])
    assert run.traces == (trace,)


def test_a_lane_that_had_ended_keeps_its_ending_when_the_run_is_stopped() -> None:
    run = new_run()
    run.append([LaneStep(0, step(0, "a")), LaneStep(0, step(1, "", token_id=END), "end")])
    run.cancel()
    assert run.traces[0].stop == "end"


@pytest.mark.parametrize(("lane", "position"), [(0, 1), (0, -1), (1, 0), (-1, 0)])
def test_a_token_that_is_not_there_is_refused(lane: int, position: int) -> None:
    run = new_run()
    run.append([LaneStep(0, step(0, "a"))])
    assert run.inspect(0, 0)["position"] == 0
    with pytest.raises(PlaygroundError):
        run.inspect(lane, position)


def test_a_sealed_run_shows_no_number() -> None:
    run = new_run(sealed=True)
    run.append([LaneStep(0, step(0, "a"))])
    with pytest.raises(PlaygroundError, match="after the vote"):
        run.inspect(0, 0)


def test_an_owner_has_one_run_at_a_time_and_leaving_stops_it() -> None:
    runs = Runs()
    first, other = runs.add(new_run(), "a"), runs.add(new_run(), "b")
    second = runs.add(new_run(), "a")
    assert (first.stopped, other.stopped, second.stopped) == (True, False, False)
    assert runs.latest("a") is second
    runs.leave("a")
    runs.leave("nobody")
    assert second.stopped
    assert runs.latest("nobody") is None
    assert runs.latest(None) is None


def test_an_owner_is_forgotten_with_the_run() -> None:
    runs = Runs(capacity=2)
    for name in "abcdef":
        runs.add(new_run(), name)
    assert [runs.latest(name) is None for name in "abcdef"] == [True] * 4 + [False] * 2
    assert len(runs._latest) == 2
