"""The scheduler's door: many threads stream at once, each gets its own events, and nothing stays behind.

What happens in a step is tested in test_batch.py.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from models.language_model import LanguageModel
from playground.decoding import batch, engine, scheduler
from playground.decoding.load import Load
from playground.decoding.policies.base import Resources
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.scheduler import Scheduler, room_for
from playground.decoding.trace import Event, Finished, Request, Started, Trace, Waiting
from playground.errors import PlaygroundError
from tests.table_lm import no_head
from tests.tiny_lm import TinyLM, TinyOutput

ROOM = Load(rows=64, positions=98_304)

ASKED = Request("Tell me about the sea.", seed=7, max_tokens=12)
SPECS = ("fixed:temperature=0.9", "edt:t0=1.1")
POLICIES = catalogue({})


def rows(request: Request, specs: Sequence[str] = SPECS) -> Any:
    return engine.rows_of(request, [POLICIES.parse(spec) for spec in specs])


def events(door: Scheduler, model: Any, request: Request = ASKED, specs: Sequence[str] = SPECS) -> Iterator[Event]:
    return door.stream(model, request, rows(request, specs), Resources(no_head))


def traces(stream: Iterator[Event]) -> tuple[Trace, ...]:
    *_, end = stream
    assert isinstance(end, Finished)
    return end.traces


def alone(model: Any, request: Request) -> list[str]:
    return [trace.id for trace in traces(engine.stream(model, request, rows(request), Resources(no_head)))]


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for what another thread does."""
    for _ in range(int(seconds / 0.01)):
        if holds():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come to pass")


class Gated(TinyLM):
    """A TinyLM whose passes each wait for a permit, and that knows which threads ran them."""

    def __init__(self) -> None:
        super().__init__(end_bias=-99.0)
        self.permits, self.threads = threading.Semaphore(0), set[str]()

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
        self.threads.add(threading.current_thread().name)
        self.permits.acquire()
        return super().forward(asks)


def waits(door: Scheduler, model: Gated, stream: Iterator[Event]) -> Event:
    """The first event of one who comes while another's pass is under way: told when the next step begins."""
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(next, stream)
        until(lambda: bool(door._arrived))
        model.permits.release()
        return told.result()


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "decoding"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    until(lambda: not workers())
    yield
    until(lambda: not workers())


def test_many_threads_get_what_each_would_get_alone() -> None:
    door, model = Scheduler(ROOM, places=4, linger=0), TinyLM(end_bias=-99.0)
    requests = [replace(ASKED, seed=seed, max_tokens=5 + seed % 9) for seed in range(24)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda request: traces(events(door, model, request)), requests))
    for request, mine in zip(requests, found, strict=True):
        assert [trace.id for trace in mine] == alone(TinyLM(end_bias=-99.0), request)


def test_one_thread_decodes_and_a_later_request_finds_it_or_a_new_one() -> None:
    model, door = Gated(), Scheduler(ROOM, linger=2)
    model.permits.release(1000)
    traces(events(door, model))
    (first,) = workers()
    traces(events(door, model))
    assert workers() == [first], "it lingers"
    until(lambda: not workers())
    traces(events(door, model))
    assert model.threads == {"decoding"}


def test_nothing_is_decoded_before_the_first_event_is_asked_for() -> None:
    stream = events(Scheduler(ROOM, linger=0), TinyLM())
    assert workers() == []
    with closing(stream):  # type: ignore[type-var]
        assert isinstance(next(stream), Started)


def test_closing_frees_the_place_within_one_step() -> None:
    model, door = Gated(), Scheduler(ROOM, places=1, linger=0)
    first, second = events(door, model), events(door, model)
    assert isinstance(next(first), Started)
    assert waits(door, model, second) == Waiting(0)
    first.close()  # type: ignore[attr-defined]
    model.permits.release()  # the pass that was under way
    assert isinstance(next(second), Started)
    assert model.steps == 2
    model.permits.release(1000)
    assert isinstance(list(second)[-1], Finished)


def test_one_who_waits_is_told_again_and_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "HEARTBEAT", 0.02)
    model, door = Gated(), Scheduler(ROOM, places=1, linger=0)
    first, second, third = (events(door, model) for _ in range(3))
    assert isinstance(next(first), Started)
    assert waits(door, model, second) == next(second) == next(second) == Waiting(0)
    assert waits(door, model, third) == Waiting(1)
    second.close()  # type: ignore[attr-defined]
    model.permits.release()
    while (told := next(third)) != Waiting(0):
        assert told == Waiting(1)
    third.close()  # type: ignore[attr-defined]
    model.permits.release(1000)
    assert isinstance(list(first)[-1], Finished)


def test_one_who_hears_nothing_may_leave_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "HEARTBEAT", 0.02)
    model, door = Gated(), Scheduler(ROOM, linger=0)
    stream = events(door, model)
    assert isinstance(next(stream), Started)
    assert next(stream) == next(stream) == ()
    stream.close()  # type: ignore[attr-defined]
    model.permits.release()
    until(lambda: not workers())
    assert model.steps == 1


def test_an_error_reaches_its_own_visitor_as_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(TinyLM):
        raised: type[Exception]

        def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
            if any(tokens.shape[0] == 3 for tokens, _ in asks):
                raise self.raised(" ".join(("three", "rows")))
            return super().forward(asks)

    for raised, said in ((KeyError, "three rows"), (RuntimeError, "Decoding stopped unexpectedly; generate again.")):
        door, model = Scheduler(ROOM, shown=(KeyError,), linger=0), Broken(end_bias=-99.0)
        model.raised = raised
        with ThreadPoolExecutor(4) as pool:
            good = [pool.submit(lambda: traces(events(door, model))) for _ in range(3)]  # noqa: B023
            with pytest.raises(PlaygroundError) as caught:
                list(events(door, model, specs=["fixed"] * 3))
        assert said in str(caught.value)
        assert [[trace.id for trace in one.result()] for one in good] == [alone(TinyLM(end_bias=-99.0), ASKED)] * 3
    assert len(caplog.records) == 1, "only what was not expected is logged"
    assert "RuntimeError" in caplog.text
    assert "three rows" not in caplog.text, "an exception's text may hold what a visitor wrote"


def test_a_refusal_is_raised_in_the_visitors_thread() -> None:
    for request, room, sentence in (
        (replace(ASKED, prompt=" "), ROOM, "must not be empty"),
        (ASKED, Load(1, 10**6), "ask for fewer lanes"),
    ):
        with pytest.raises(PlaygroundError, match=sentence):
            list(events(Scheduler(room, linger=0), TinyLM(), request))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_leaves_nobody_hanging_and_the_next_request_gets_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door, model = Scheduler(ROOM, places=1, linger=0), Gated()
    streams = [events(door, model) for _ in range(3)]
    assert isinstance(next(streams[0]), Started)
    assert all(isinstance(waits(door, model, stream), Waiting) for stream in streams[1:])
    with monkeypatch.context() as patch:
        patch.setattr(batch.Batch, "_asking", lambda self: 1 / 0)
        model.permits.release(1000)
        for stream in streams:
            with pytest.raises(PlaygroundError, match="has ended unexpectedly"):
                list(stream)
        until(lambda: not workers())
    assert len(traces(events(door, model))) == 2


def test_a_thread_that_vanishes_without_a_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "HEARTBEAT", 0.02)
    monkeypatch.setattr(Scheduler, "_work", lambda self: None)
    with pytest.raises(PlaygroundError, match="has ended unexpectedly"):
        list(events(Scheduler(ROOM), TinyLM()))


def test_two_hundred_requests_one_by_one_and_at_once_leave_nothing_behind() -> None:
    caches: list[weakref.ref[Any]] = []

    class Watched(TinyLM):
        def fork(self, cache: Any) -> Any:
            copy = Kept(cache)
            caches.append(weakref.ref(copy))
            return copy

    class Kept(list[Tensor]):
        pass

    door, model = Scheduler(ROOM, places=4, linger=0), Watched(end_bias=-99.0)
    threads = threading.active_count()

    def visit(number: int) -> None:
        stream = events(door, model, replace(ASKED, seed=number, max_tokens=4, prompt="" if number % 10 == 9 else "Hi"))
        if number % 10 == 9:
            with pytest.raises(PlaygroundError):
                list(stream)
        elif number % 3 == 0:
            next(stream)
            stream.close()  # type: ignore[attr-defined]
        else:
            traces(stream)

    for number in range(100):
        visit(number)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(visit, range(100)))
    until(lambda: not workers())
    gc.collect()
    assert threading.active_count() == threads
    assert len(caches) > 100
    assert not [cache for cache in caches if cache() is not None]


def test_the_embedded_model_decodes_for_two_threads_what_it_decodes_alone(embedded_model: LanguageModel) -> None:
    door = Scheduler(ROOM, linger=0)
    requests = [replace(ASKED, seed=seed, max_tokens=5) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda request: traces(events(door, embedded_model, request)), requests))
    for request, mine in zip(requests, found, strict=True):
        assert [trace.id for trace in mine] == alone(embedded_model, request)


def test_the_room_is_what_the_cache_may_take_of_this_model(embedded_model: LanguageModel) -> None:
    _, cache = embedded_model.prefill(embedded_model.encode_chat("Name a city."))
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.state.layers)
    assert embedded_model.position_bytes == kept // cache.ids.shape[1]
    assert room_for(embedded_model).positions == scheduler.CACHE_BYTES // embedded_model.position_bytes
