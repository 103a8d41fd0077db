"""A lane that has ended is known to have ended, whatever ended it, and keeps its own ending when the run is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from models.language_model import LanguageModel
from playground.config import Settings
from playground.decoding.engine import rows_of, stream
from playground.decoding.policies.base import Resources, Row
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Event, Finished, LaneStep, Request, Started, Stop
from playground.errors import PlaygroundError
from playground.parts import Parts, load_parts
from playground.records import Battle
from playground.ui.decode import grow
from playground.ui.growing import Growing
from playground.ui.heading import Heading
from playground.ui.runs import Run
from tests.scripted import END, step
from tests.table_lm import no_head
from tests.tiny_lm import TinyLM

SOURCE = "The Aral Sea lay between Kazakhstan and Uzbekistan."
REQUEST = Request("Tell me about the sea.", seed=5, max_tokens=5, source=SOURCE)
SLOW = ("long-horizon", "best-of-n")


def test_the_end_token_is_not_drawn_but_an_empty_piece_inside_a_character_is() -> None:
    growing = Growing()
    for passed in (step(0, "a"), step(1, ""), step(2, "é")):
        growing.add(LaneStep(0, passed))
    growing.add(LaneStep(0, step(3, "", token_id=END), "end"))
    assert [s.position for s in growing.steps] == [0, 1, 2]
    assert [s.position for s in growing.every_step()] == [0, 1, 2, 3]
    assert growing.ending == "end"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, embedded_model: LanguageModel) -> Parts:
    return load_parts(Settings(data_folder=tmp_path_factory.mktemp("data"), precision="gguf"))


def test_a_lane_shows_the_beginning_that_was_read_and_the_blank_once(parts: Parts) -> None:
    asked = Request("What is the capital of France?", None, "The capital is ", max_tokens=2)
    run = Run(asked, 1)
    for _ in grow(parts, run, ["fixed:temperature=0.0"]):
        pass
    shown = run.heads[0].prefill + "".join(step.text for step in run.steps(0))
    assert shown.startswith("The capital is ")
    assert not shown.startswith("The capital is  ")
    assert run.request.prefill == "The capital is "


def run_of(request: Request, rows: Sequence[Row], events: Sequence[Event], upto: int) -> Run:
    """What the page holds of a generation after `upto` of its events."""
    run = Run(request, len(rows))
    for event in events[:upto]:
        if isinstance(event, Started):
            run.start(event.traces, [Heading(row.spec) for row in rows])
        elif isinstance(event, Finished):
            run.finish(event.traces)
        elif isinstance(event, tuple):
            run.append(event)
    return run


def check(parts: Parts, request: Request, specs: Sequence[str]) -> list[Stop]:
    """`checked`, with the policies of these parts."""
    rows = rows_of(request, [parts.catalogue.parse(spec) for spec in specs])
    return checked(request, rows, list(parts.stream(request, specs)))


def checked(request: Request, rows: Sequence[Row], events: Sequence[Event]) -> list[Stop]:
    """Stops the generation after every one of its events; the lanes' endings when nobody stops it."""
    *_, finished = events
    assert isinstance(finished, Finished)
    for upto in range(1, len(events)):
        run = run_of(request, rows, events, upto)
        if not run.heads:
            continue
        ended = run.ended()
        run.cancel()
        for lane, (trace, whole) in enumerate(zip(run.traces, finished.traces, strict=True)):
            over = len(trace.steps) == len(whole.steps)
            assert ended[lane] == over, (whole.policy, upto)
            assert trace.stop == (whole.stop if over else "cancelled"), (whole.policy, upto)
            assert not over or trace.token_ids == whole.token_ids
    return [trace.stop for trace in finished.traces]


def names(alone: bool) -> Iterator[str]:
    for kind in catalogue({}).kinds:
        if kind.streams and bool(kind.decoder) == alone and kind.name not in SLOW:
            yield kind.name


def test_every_policy_of_the_shared_batch_is_known_to_have_ended(parts: Parts) -> None:
    assert set(check(parts, REQUEST, list(names(alone=False)))) == {"length"}


@pytest.mark.parametrize(
    "spec",
    [
        *names(alone=True),
        "difficulty-router:preset=easy",
        "difficulty-router:preset=hard",
        "entropy-switch:start=small",
        "long-horizon:particles=2,block=4",
        "best-of-n:n=2",
        "shuffled:of=1",
        "matched:by=temperature,of=1",
    ],
)
def test_a_lane_is_known_to_have_ended_beside_one_that_goes_on(parts: Parts, spec: str) -> None:
    assert check(parts, REQUEST, ["edt", spec]) == ["length", "length"]


@pytest.mark.parametrize("spec", ["edt", "difficulty-router:preset=easy", "entropy-switch", "best-of-n:n=2"])
@pytest.mark.parametrize("room", [3, 9, 400])
def test_the_context_a_stop_string_or_an_end_token_ends_a_lane(spec: str, room: int) -> None:
    """TinyLM, whose context is as long as the prompt, its instruction and `room` tokens."""
    small, known = TinyLM(1), catalogue({"tuned-lens": "small"})
    having = Resources(no_head, small_model=lambda name: small)
    seen: set[Stop] = set()
    for seed in range(6):
        model = TinyLM(seed, end_bias=2.0)
        request = Request("Say yes.", seed=seed, max_tokens=200, stop=("q", "e "))
        model.context_length = small.context_length = 8 + 2 + 50 + room
        rows = rows_of(request, [known.parse(text) for text in (spec, "shuffled:of=1")])
        seen.update(checked(request, rows, list(stream(model, request, rows, having))))
    assert len(seen) > 1


def test_lanes_that_had_ended_when_the_run_was_stopped_can_be_voted_on(parts: Parts) -> None:
    request = Request("Tell me about the sea.", seed=5, max_tokens=10)
    specs = ["difficulty-router:preset=easy", "fixed:temperature=0.7", "difficulty-router:preset=hard"]
    rows = rows_of(request, [parts.catalogue.parse(spec) for spec in specs])
    events, run = list(parts.stream(request, specs)), Run(request, 3)
    for upto in range(1, len(events)):
        run = run_of(request, rows, events, upto)
        if run.ended() == [True, False, True]:
            break
    run.cancel()
    assert [trace.stop for trace in run.traces] == ["length", "cancelled", "length"]
    parts.store.agree("voter", "1")
    parts.store.record_open_vote(battle(run, 0, 2), (run.traces[0], run.traces[2]), "a")
    with pytest.raises(PlaygroundError, match="must have finished"):
        parts.store.record_open_vote(battle(run, 0, 1), (run.traces[0], run.traces[1]), "a")


def battle(run: Run, a: int, b: int) -> Battle:
    arms = run.traces[a].policy, run.traces[b].policy
    now = datetime.now(UTC)
    return Battle(f"battle-{a}-{b}", "evaluate", False, run.request, None, arms, "a", None, "voter", "1", now)
