"""Places at the decoder: first come, first served; whoever waits knows how many are before, and whoever leaves frees."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from playground.errors import PlaygroundError
from playground.ui import places as module
from playground.ui.places import Places


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.02)


def test_the_places_are_taken_in_the_order_of_coming() -> None:
    places = Places(2)
    with ExitStack() as first, ExitStack() as second, ExitStack() as others:
        seats = [first.enter_context(places.seat()), second.enter_context(places.seat())]
        seats += [others.enter_context(places.seat()) for _ in range(2)]
        assert [list(seat.wait(lambda: False)) for seat in seats[:2]] == [[], []]
        told = [seat.wait(lambda: False) for seat in seats[2:]]
        assert [next(one) for one in told] == [0, 1]
        second.close()
        assert list(told[0]) == []
        assert next(told[1]) == 0
        assert next(told[1]) == 0  # told again and again, so that it can leave
        first.close()
        assert list(told[1]) == []


def test_one_who_waits_begins_when_a_place_is_free_and_leaves_when_gone() -> None:
    places, left = Places(1), threading.Event()
    with ExitStack() as first, places.seat() as second, places.seat() as third:
        first.enter_context(places.seat())
        assert list(second.wait(lambda: True)) == []
    with ExitStack() as first:
        first.enter_context(places.seat())
        begun = []

        def visitor() -> None:
            with places.seat() as seat:
                begun.append(list(seat.wait(lambda: False)))
            left.set()

        thread = threading.Thread(target=visitor)
        thread.start()
        first.close()
        assert left.wait(5)
        thread.join()
    assert set(begun[0]) <= {0}
    del third


def test_beyond_the_queue_a_visitor_is_refused_in_one_sentence_and_the_refusal_takes_no_seat() -> None:
    places = Places(1, waiting=1)
    with places.seat(), places.seat():
        for _ in range(3):
            with pytest.raises(PlaygroundError, match="2 visitors; try again"), places.seat():
                pass
    with places.seat() as seat:
        assert list(seat.wait(lambda: False)) == []


def test_a_seat_is_given_back_also_when_what_it_was_for_fails() -> None:
    places = Places(1, waiting=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), places.seat():
            raise ZeroDivisionError


def test_messages_are_rarer_while_many_stream() -> None:
    places, intervals = Places(40), []
    with ExitStack() as seats:
        for _ in range(20):
            seats.enter_context(places.seat())
            intervals.append(places.interval)
    assert intervals == sorted(intervals)
    assert intervals[:4] == [module.INTERVAL] * 4
    assert intervals[7] == pytest.approx(2 * module.INTERVAL)
    assert intervals[-1] == pytest.approx(3 * module.INTERVAL)
