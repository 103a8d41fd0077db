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
    run = Run(request, 1, {END}, sealed=sealed)
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
    run.append([LaneStep(0, step(0, "a")), LaneStep(0, step(1, "", token_id=END))])
    run.cancel()
    assert run.traces[0].stop == "end"


@pytest.mark.parametrize(
    ("texts", "stop"),
    [(("a", "b", "c"), "length"), (("a", "x\n"), "stop_string"), (("a", "b"), "cancelled"), ((), "cancelled")],
)
def test_what_a_stopped_lane_ended_by_is_read_from_its_steps(texts: tuple[str, ...], stop: str) -> None:
    run = new_run(request=Request("hello", stop=("x\n",), max_tokens=3))
    run.append([LaneStep(0, step(i, text)) for i, text in enumerate(texts)])
    run.cancel()
    assert run.traces[0].stop == stop
    assert dict(run.figures()[0])["tokens"] == str(len(texts))


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


def test_what_a_step_adds_costs_the_same_late_as_early() -> None:
    class Counted(str):
        """A text that counts how often it is read to look for stop strings."""

        reads = 0

        def __add__(self, other: str) -> str:
            Counted.reads += 1
            return str(self) + other

        def __radd__(self, other: str) -> str:
            Counted.reads += 1
            return other + str(self)

    run = new_run(request=Request("hello", stop=("never", "é\n"), max_tokens=2000))
    for position in range(1000):
        run.append([LaneStep(0, step(position, Counted("x")))])
        assert run.ended() == [False]
    assert Counted.reads == 1000


@pytest.mark.parametrize("pieces", [("a", "b", "c|d"), ("ab", "c", "|", "d"), ("xab", "c|dx")])
def test_a_stop_string_is_found_wherever_the_tokens_part_it(pieces: tuple[str, ...]) -> None:
    run = new_run(request=Request("hello", stop=("unseen stop string", "c|d"), max_tokens=99))
    for position, piece in enumerate(pieces):
        assert run.ended() == [False]
        run.append([LaneStep(0, step(position, piece))])
    assert run.ended() == [True]
    run.cancel()
    assert run.traces[0].stop == "stop_string"


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
