"""One batch for many: every request gets its step in every tick, nobody's tokens know of the others, nothing stays behind.

Ticks are called by hand here, so every count is exact; threads are in test_scheduler.py.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from models.language_model import LanguageModel
from playground.decoding import engine
from playground.decoding.batch import LONG, Batch, Job
from playground.decoding.decoders import difficulty_router, entropy_switch
from playground.decoding.load import Load
from playground.decoding.policies.base import Predictor, Resources
from playground.decoding.policies.catalogue import Catalogue, catalogue
from playground.decoding.trace import Event, Finished, Request, Started, Trace, Waiting
from playground.errors import PlaygroundError
from tests.table_lm import no_head
from tests.tiny_lm import TinyLM, TinyOutput

ROOM = Load(rows=1000, positions=10**9)
ASKED = Request("Tell me about the sea.", seed=7, max_tokens=12)
POLICIES = Catalogue(
    (
        *catalogue({}).kinds,
        entropy_switch.kind("lens"),
        difficulty_router.kind("probe"),
    )
)
MIXED = (
    ["fixed:temperature=0.9", "edt:t0=1.1"],
    ["best-of-n:n=3", "fixed"],
    ["long-horizon:particles=3,block=2", "mirostat-v2"],
    ["entropy-switch:threshold_bits=2.5,stay=2,window=2", "fixed:top_p=0.9"],
    ["difficulty-router", "shuffled:of=3", "edt"],
    ["power-sampling:block=4,moves=2"],
    ["fixed", "fixed", "target-entropy:nats=2.0"],
)


class Recording(TinyLM):
    """TinyLM that keeps who asked in every pass, by the number of tokens, and weak references to all caches."""

    def __init__(self, **options: Any) -> None:
        super().__init__(end_bias=-99.0, **options)
        self.passes: list[list[tuple[int, int]]] = []
        self.caches: list[weakref.ref[Any]] = []

    def begin(self, ids: Sequence[int]) -> tuple[Any, list[Tensor]]:
        cache, pieces = super().begin(ids)
        return self._watched(cache), pieces

    def fork(self, cache: Any) -> Any:
        return self._watched(cache)

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
        self.passes.append([(tokens.shape[0], tokens.shape[1]) for tokens, _ in asks])
        return super().forward(asks)

    def alive(self) -> int:
        gc.collect()
        return sum(cache() is not None for cache in self.caches)

    def _watched(self, cache: list[Tensor]) -> Cache:
        watched = Cache(cache)
        self.caches.append(weakref.ref(watched))
        return watched


class Cache(list[Tensor]):
    """A list that can be referred to weakly."""


def resources(small: TinyLM | None = None) -> Resources:
    import torch

    logprobs = torch.tensor([[0.1, 0.2, 0.7]]).log()
    return Resources(
        no_head,
        lambda name, kind: Predictor(name, kind, lambda hidden: logprobs + hidden.sum() * 0),
        lambda name: small or TinyLM(seed=1, hidden_size=8, end_bias=-99.0),
    )


def job(model: Any, specs: Sequence[str] = ("fixed", "edt"), request: Request = ASKED) -> Job:
    return Job(model, request, engine.rows_of(request, [POLICIES.parse(spec) for spec in specs]), resources())


def told(one: Job) -> list[Event | Exception | None]:
    """What it was told since the last call."""
    found = []
    while not one.told.empty():
        found.append(one.told.get())
    return found


def finish(batch: Batch, most: int = 1000) -> None:
    while batch.jobs:
        batch.tick()
        most -= 1
        assert most, "the batch does not come to an end"


def traces(one: Job) -> tuple[Trace, ...]:
    *_, finished, end = told(one)
    assert isinstance(finished, Finished), finished
    assert end is None
    return finished.traces


def alone(model: Any, specs: Sequence[str], request: Request) -> list[str]:
    rows = engine.rows_of(request, [POLICIES.parse(spec) for spec in specs])
    *_, end = engine.stream(model, request, rows, resources())
    assert isinstance(end, Finished)
    return [trace.id for trace in end.traces]


@pytest.mark.parametrize("piece", [5, 4096])
def test_no_lane_of_any_kind_changes_because_others_join_and_leave(piece: int) -> None:
    model, batch = Recording(), Batch(places=5, room=ROOM)
    model.piece = piece
    jobs = []
    for number, specs in enumerate(MIXED * 2):
        jobs.append(
            job(model, specs, replace(ASKED, seed=number, max_tokens=8 + number, prompt="x" * (3 + 7 * number)))
        )
        batch.arrived.append(jobs[-1])
        for _ in range(number % 4):
            batch.tick()
        if number == 3:
            jobs[1].left = True
    finish(batch)
    assert max(map(len, model.passes)) >= 4, "they did run in one pass"
    for number, one in enumerate(jobs):
        if number != 1:
            specs, request = MIXED[number % len(MIXED)], one.request
            assert [trace.id for trace in traces(one)] == alone(TinyLM(end_bias=-99.0), specs, request)


def test_what_streams_is_what_streams_alone() -> None:
    batch, jobs = Batch(places=8, room=ROOM), [job(TinyLM(), specs) for specs in MIXED]
    batch.arrived += jobs
    finish(batch)
    for specs, one in zip(MIXED, jobs, strict=True):
        rows = engine.rows_of(ASKED, [POLICIES.parse(spec) for spec in specs])
        expected = list(engine.stream(TinyLM(), ASKED, rows, resources()))
        *events, end = [event for event in told(one) if not isinstance(event, Waiting)]
        assert end is None
        assert len(events) == len(expected)
        assert events[1:-1] == expected[1:-1]
        assert isinstance(events[0], Started)


def test_eight_visitors_get_equal_shares_in_every_window() -> None:
    model, batch = Recording(), Batch(places=8, room=ROOM)
    jobs = [job(model, request=replace(ASKED, seed=seed, max_tokens=60)) for seed in range(8)]
    batch.arrived += jobs
    for _ in range(20):
        batch.tick()
    for one in jobs:
        told(one)
    for window in (1, 2, 5, 12):
        for _ in range(window):
            batch.tick()
        steps = [sum(len(event) for event in told(one) if isinstance(event, tuple)) for one in jobs]
        assert steps == [2 * window] * 8
    assert all(len(asks) == 8 for asks in model.passes[20:]), "one pass a tick, for all of them"


def test_shares_stay_fair_while_newcomers_read_long_prompts() -> None:
    model, batch = Recording(), Batch(places=8, room=ROOM)
    model.piece = 32
    jobs = [job(model, request=replace(ASKED, seed=seed, max_tokens=60)) for seed in range(4)]
    batch.arrived += jobs
    for _ in range(12):
        batch.tick()
    for one in jobs:
        told(one)
    batch.arrived += [job(model, request=replace(ASKED, prompt="long " * 50)) for _ in range(4)]
    for _ in range(25):
        batch.tick()
    steps = [sum(len(event) for event in told(one) if isinstance(event, tuple)) for one in jobs]
    assert steps == [2 * 25] * 4
    assert any(length == 32 for asks in model.passes[12:] for _, length in asks), "the newcomers did read"


def first_tokens(batch: Batch, jobs: Sequence[Job]) -> list[int]:
    """After how many ticks each of these has its first token."""
    ticks: dict[Job, int] = {}
    for tick in range(1, 200):
        batch.tick()
        for one in jobs:
            if any(isinstance(event, tuple) and event for event in told(one)):
                ticks.setdefault(one, tick)
        if len(ticks) == len(jobs):
            return [ticks[one] for one in jobs]
    raise AssertionError("somebody gets no token")


def test_one_piece_of_a_prompt_a_tick_and_the_oldest_first() -> None:
    model, batch = Recording(), Batch(places=8, room=ROOM)
    model.piece = 32
    batch.arrived += (longs := [job(model, request=replace(ASKED, prompt=letter * 190)) for letter in "abc"])
    assert first_tokens(batch, longs) == [17, 18, 19], "six pieces each, in turns"
    pieces = [sum(length > LONG for _, length in asks) for asks in model.passes[:18]]
    assert pieces == [1] * 18


def test_a_short_prompt_does_not_wait_for_the_end_of_a_long_one() -> None:
    model, batch = Recording(), Batch(places=8, room=ROOM)
    model.piece = 32
    batch.arrived += [job(model, request=replace(ASKED, prompt="long " * 500)) for _ in range(2)]
    for _ in range(10):
        batch.tick()
    batch.arrived.append(short := job(model, request=replace(ASKED, prompt="s" * 60)))
    assert first_tokens(batch, [short]) == [3], "two pieces, then the token that follows"


def test_a_newcomers_first_token_comes_within_three_steps_and_its_pieces() -> None:
    model, batch = Recording(), Batch(places=8, room=ROOM)
    model.piece = 32
    batch.arrived += [job(model, request=replace(ASKED, seed=seed, max_tokens=200)) for seed in range(7)]
    for _ in range(10):
        batch.tick()
    newcomer = job(model, request=replace(ASKED, prompt="n" * 150))
    pieces = len(model.begin(model.encode_chat(newcomer.request.prompt))[1])
    batch.arrived.append(newcomer)
    ticks = 0
    while not any(isinstance(event, tuple) and event for event in told(newcomer)):
        batch.tick()
        ticks += 1
    assert pieces == 5
    assert ticks <= pieces + 3


def test_who_leaves_is_gone_after_one_tick_with_all_caches() -> None:
    model, batch = Recording(), Batch(places=8, room=ROOM)
    jobs = [job(model, specs) for specs in MIXED]
    batch.arrived += jobs
    for _ in range(10):
        batch.tick()
    assert model.alive() >= len(MIXED)
    for one in jobs:
        one.left = True
    before = len(model.passes)
    batch.tick()
    assert batch.jobs == []
    assert model.alive() == 0
    assert len(model.passes) == before, "no pass is made for those who left"


def test_one_request_that_fails_leaves_the_rest_as_they_are() -> None:
    class Broken(TinyLM):
        def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
            if any(self.steps > 6 and tokens.shape[0] == 3 for tokens, _ in asks):
                raise RuntimeError("three rows are too many")
            return super().forward(asks)

    model, batch = Broken(end_bias=-99.0), Batch(places=8, room=ROOM)
    good = [job(model, request=replace(ASKED, seed=seed)) for seed in range(3)]
    bad = job(model, ["fixed", "fixed", "edt"])
    batch.arrived += [good[0], bad, *good[1:]]
    finish(batch)
    *_, last = told(bad)
    assert isinstance(last, RuntimeError)
    for seed, one in enumerate(good):
        assert [t.id for t in traces(one)] == alone(TinyLM(end_bias=-99.0), ["fixed", "edt"], replace(ASKED, seed=seed))


def test_a_request_that_cannot_run_is_refused_alone() -> None:
    batch, good = Batch(places=8, room=ROOM), job(TinyLM())
    empty, wrong = job(TinyLM(), request=replace(ASKED, prompt=" ")), job(TinyLM(), ["shuffled:of=1"])
    batch.arrived += [empty, good, wrong]
    finish(batch)
    for one, sentence in ((empty, "must not be empty"), (wrong, "another lane that decides by itself")):
        (error,) = told(one)
        assert isinstance(error, PlaygroundError)
        assert sentence in str(error)
    assert traces(good)


def test_more_than_the_places_wait_and_are_served_in_the_order_they_came() -> None:
    batch = Batch(places=2, room=ROOM)
    jobs = [job(TinyLM(end_bias=-99.0), request=replace(ASKED, max_tokens=5 + number % 3)) for number in range(7)]
    batch.arrived += jobs
    order: list[Job] = []
    seen: dict[Job, list[int]] = {one: [] for one in jobs}
    while batch.jobs:
        batch.tick()
        assert len(batch.running) <= 2
        for one in jobs:
            for event in told(one):
                if isinstance(event, Started):
                    order.append(one)
                elif isinstance(event, Waiting):
                    assert one not in order
                    seen[one].append(event.ahead)
    assert order == jobs
    assert [seen[one] for one in jobs[:4]] == [[], [], [0], [1, 0]]
    assert all(counts == sorted(set(counts), reverse=True) for counts in seen.values())
    assert seen[jobs[6]][-1] == 0


def test_rows_and_positions_are_bounded_and_nobody_overtakes() -> None:
    wide, narrow = ["fixed"] * 6, ["fixed"]
    batch = Batch(places=8, room=Load(rows=8, positions=10**6))
    jobs = [job(TinyLM(end_bias=-99.0), specs) for specs in (wide, wide, narrow)]
    batch.arrived += jobs
    order: list[Job] = []
    while batch.jobs:
        batch.tick()
        assert sum(one.load.rows for one in batch.running) <= 8
        order += [one for one in jobs if any(isinstance(event, Started) for event in told(one))]
    assert order == jobs, "the narrow one would have fitted beside the first"


@pytest.mark.parametrize("room", [Load(3, 10**6), Load(100, 50)])
def test_what_can_never_fit_is_refused_in_one_sentence(room: Load) -> None:
    batch, big, small = Batch(places=8, room=room), job(TinyLM(), ["best-of-n:n=4"]), job(TinyLM(), ["fixed"], SHORT)
    batch.arrived += [big, small]
    finish(batch)
    (error,) = told(big)
    assert isinstance(error, PlaygroundError)
    assert str(error).count(". ") == 0
    assert "ask for fewer lanes" in str(error)
    assert traces(small)


SHORT = Request("Hi", max_tokens=3)


def test_the_embedded_model_decodes_the_same_in_company(
    embedded_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    forward = embedded_model.forward

    def counted(asks: Sequence[tuple[Tensor, Any]]) -> Any:
        asked.append(len(asks))
        return forward(asks)

    monkeypatch.setattr(embedded_model, "forward", counted)
    batch, request = Batch(places=8, room=ROOM), replace(ASKED, max_tokens=6)
    one, other = job(embedded_model, ["fixed", "edt"], request), job(embedded_model, ["best-of-n:n=2"], SHORT)
    batch.arrived.append(one)
    batch.tick()
    batch.arrived.append(other)
    finish(batch)
    assert max(asked) == (2 if embedded_model.merges else 1)
    assert [trace.id for trace in traces(one)] == alone(embedded_model, ["fixed", "edt"], request)
    assert [trace.id for trace in traces(other)] == alone(embedded_model, ["best-of-n:n=2"], SHORT)
