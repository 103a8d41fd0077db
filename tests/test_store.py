"""One vote a battle, from its own voter, on two finished replies, in time; and the same vote again is the same vote."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from playground.errors import PlaygroundError
from playground.feedback.ballot import Receipt
from playground.feedback.store import Store
from tests.samples import ADAPTIVE, NOTICE, make_battle, make_trace, make_traces

VOTER = "voter-1"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path / 'votes.sqlite3'}", tmp_path, clock)
    store.agree(VOTER, NOTICE)
    yield store
    store.close()


def _finished(store: Store, seed: int = 0, **values: Any) -> tuple[str, str]:
    """The id and token of a battle that waits for its vote."""
    battle = make_battle(VOTER, **values)
    token = store.open_battle(battle)
    store.finish_battle(battle.id, make_traces(seed))
    return battle.id, token


def test_nothing_is_stored_before_the_notice(store: Store) -> None:
    for battle in (make_battle("stranger"), make_battle(VOTER, notice="2027-01")):
        with pytest.raises(PlaygroundError, match="Agree to the notice first"):
            store.open_battle(battle)
        with pytest.raises(PlaygroundError, match="Agree to the notice first"):
            store.record_open_vote(replace(battle, blind=False), make_traces(), "a")
    assert store.counts()["battles_running"] == store.counts()["votes"] == 0
    assert store.agreed(VOTER, NOTICE)
    assert not store.agreed(VOTER, "2027-01")
    store.agree(VOTER, NOTICE)
    assert store.counts()["agreements"] == 1


def test_a_battle_comes_back_as_it_was(store: Store) -> None:
    battle = make_battle(VOTER)
    store.open_battle(battle)
    assert store.battle(battle.id) == battle
    assert store.state(battle.id) == "running"
    traces = make_traces(3)
    store.finish_battle(battle.id, traces)
    assert store.traces(battle.id) == traces
    assert store.state(battle.id) == "finished"


def test_a_vote_is_kept_over_a_restart_with_its_seconds(tmp_path: Path, store: Store, clock: Clock) -> None:
    battle_id, token = _finished(store)
    clock.pass_by(seconds=12.5)
    receipt = store.vote(token, VOTER, "b", "much", ["clear", "useful"])
    again = Store.open(f"sqlite:///{tmp_path / 'votes.sqlite3'}", tmp_path, clock)
    shown = again.reveal(token, VOTER)
    assert shown.vote.id == receipt.vote_id
    assert (shown.vote.outcome, shown.vote.strength, shown.vote.tags) == ("b", "much", ("clear", "useful"))
    assert shown.vote.seconds == 12.5
    assert shown.traces == make_traces()
    assert shown.battle.id == battle_id
    again.close()


def test_the_same_vote_again_is_the_same_receipt_and_another_is_refused(store: Store, clock: Clock) -> None:
    _, token = _finished(store)
    receipt = store.vote(token, VOTER, "a", tags=["clear"])
    assert receipt.repeated is False
    clock.pass_by(hours=5)
    for _ in range(100):
        assert store.vote(token, VOTER, "a", tags=["clear"]) == Receipt(receipt.vote_id, repeated=True)
    for other in ({"outcome": "b"}, {"outcome": "a"}, {"outcome": "a", "tags": ["clear"], "strength": "much"}):
        with pytest.raises(PlaygroundError, match="already has a vote"):
            store.vote(token, VOTER, **other)  # type: ignore[arg-type]
    assert store.counts()["votes"] == 1


def test_a_vote_out_of_turn_is_refused(store: Store, clock: Clock) -> None:
    running, failed = make_battle(VOTER), make_battle(VOTER)
    running_token, failed_token = store.open_battle(running), store.open_battle(failed)
    store.fail_battle(failed.id, "out of memory")
    _, late = _finished(store)
    with pytest.raises(PlaygroundError, match="this battle is running"):
        store.vote(running_token, VOTER, "a")
    with pytest.raises(PlaygroundError, match="this battle is failed"):
        store.vote(failed_token, VOTER, "a")
    with pytest.raises(PlaygroundError, match="another visitor"):
        store.vote(late, "voter-2", "a")
    with pytest.raises(PlaygroundError, match="another visitor"):
        store.vote(running.id, VOTER, "a")
    clock.pass_by(minutes=30)
    with pytest.raises(PlaygroundError, match="expired"):
        store.vote(late, VOTER, "a")
    assert store.counts()["votes"] == 0


def test_a_token_of_a_battle_that_was_never_stored_is_refused(tmp_path: Path, store: Store, clock: Clock) -> None:
    elsewhere = Store.open(f"sqlite:///{tmp_path / 'other.sqlite3'}", tmp_path, clock)
    elsewhere.agree(VOTER, NOTICE)
    token = elsewhere.open_battle(make_battle(VOTER))
    with pytest.raises(PlaygroundError, match="not known here"):
        store.vote(token, VOTER, "a")
    elsewhere.close()


def test_a_vote_that_is_none_is_refused(store: Store) -> None:
    _, token = _finished(store)
    for values in ({"outcome": "left"}, {"outcome": None}, {"outcome": ["a"]}, {"outcome": "a", "strength": "huge"}):
        with pytest.raises(PlaygroundError, match="must be"):
            store.vote(token, VOTER, **values)  # type: ignore[arg-type]
    for tags in ([""], ["x" * 65], [7], ["x"] * 17):
        with pytest.raises(PlaygroundError, match="`tags`"):
            store.vote(token, VOTER, "a", tags=tags)  # type: ignore[arg-type]
    with pytest.raises(PlaygroundError, match="valid Unicode"):
        store.vote(token, VOTER, "a", tags=["\ud800"])
    assert store.counts()["votes"] == 0
    store.vote(token, VOTER, "a")


def test_names_are_revealed_only_after_the_vote_and_only_to_its_voter(store: Store) -> None:
    _, token = _finished(store)
    with pytest.raises(PlaygroundError, match="after the vote"):
        store.reveal(token, VOTER)
    store.vote(token, VOTER, "both_bad")
    assert store.reveal(token, VOTER).battle.arms[1] == ADAPTIVE
    with pytest.raises(PlaygroundError, match="another visitor"):
        store.reveal(token, "voter-2")


@pytest.mark.parametrize("stop", ["cancelled", "error"])
def test_an_unfinished_reply_does_not_finish_a_battle(store: Store, stop: str) -> None:
    battle = make_battle(VOTER)
    store.open_battle(battle)
    a, b = make_traces()
    with pytest.raises(PlaygroundError, match="must have finished"):
        store.finish_battle(battle.id, (a, replace(b, stop=stop)))  # type: ignore[arg-type]
    with pytest.raises(PlaygroundError, match="this one is running"):
        store.traces(battle.id)
    store.finish_battle(battle.id, (a, b))
    with pytest.raises(PlaygroundError, match="this one is finished"):
        store.finish_battle(battle.id, (a, b))
    with pytest.raises(PlaygroundError, match="this one is finished"):
        store.fail_battle(battle.id, "too late")


def test_replies_of_other_arms_do_not_finish_a_battle(store: Store) -> None:
    battle = make_battle(VOTER)
    store.open_battle(battle)
    a, b = make_traces()
    for traces in ((b, a), (a, make_trace(1, spec="edt:t0=1.0,theta=0.5"))):
        with pytest.raises(PlaygroundError, match="candidate a first"):
            store.finish_battle(battle.id, traces)
    assert store.state(battle.id) == "running"


def test_two_draws_of_one_arm_with_equal_tokens_are_two_traces(store: Store) -> None:
    battle = make_battle(VOTER, arms=(ADAPTIVE, ADAPTIVE))
    token = store.open_battle(battle)
    trace = make_trace(1, spec=ADAPTIVE)
    store.finish_battle(battle.id, (trace, trace))
    store.vote(token, VOTER, "tie")
    assert store.traces(battle.id) == (trace, trace)


def test_a_battle_that_does_not_fit_is_one_sentence(store: Store) -> None:
    taken = make_battle(VOTER)
    store.open_battle(taken)
    for battle, sentence in (
        (taken, "id of its own"),
        (make_battle(VOTER, propensity=None), "does not fit"),
        (make_battle(VOTER, left="middle"), "does not fit"),
        (make_battle(VOTER, id="a.b"), "battle id"),
        (make_battle(VOTER, blind=False), "must be blind"),
        (make_battle("", notice=NOTICE), "`voter`"),
        (make_battle(VOTER, family="\ud800"), "valid Unicode"),
    ):
        with pytest.raises(PlaygroundError, match=sentence):
            store.open_battle(battle)
    with pytest.raises(PlaygroundError, match="not be marked blind"):
        store.record_open_vote(make_battle(VOTER), make_traces(), "a")
    assert store.counts()["battles_running"] == 1


def test_a_vote_in_compare_is_all_or_nothing_and_idempotent(store: Store) -> None:
    battle = make_battle(VOTER, blind=False)
    a, b = make_traces()
    with pytest.raises(PlaygroundError, match="candidate a first"):
        store.record_open_vote(battle, (b, a), "a")
    assert store.counts()["battles_running"] == 0
    receipt = store.record_open_vote(battle, (a, b), "a", seconds=3.0)
    assert store.record_open_vote(battle, (a, b), "a") == Receipt(receipt.vote_id, repeated=True)
    with pytest.raises(PlaygroundError, match="already has a vote"):
        store.record_open_vote(battle, (a, b), "b")
    with pytest.raises(PlaygroundError, match="another visitor"):
        store.record_open_vote(replace(battle, voter="voter-2"), (a, b), "a")
    assert store.counts() == {
        "agreements": 1,
        "battles_running": 0,
        "battles_finished": 0,
        "battles_voted": 1,
        "battles_failed": 0,
        "votes": 1,
        "votes_blind": 0,
    }


def test_preferences_leave_out_what_was_asked_and_count_it(store: Store, clock: Clock) -> None:
    votes = []
    for seed, mode in enumerate(("collect", "evaluate", "collect")):
        clock.pass_by(seconds=1)
        votes.append(store.vote(_finished(store, seed, mode=mode)[1], VOTER, "a").vote_id)
    clock.pass_by(seconds=1)
    votes.append(store.record_open_vote(make_battle(VOTER, blind=False), make_traces(9), "tie").vote_id)
    every, blind, collect = store.preferences(True), store.preferences(), store.preferences(mode="collect")
    assert [p.vote_id for p in every] == votes
    assert [p.vote_id for p in blind] == votes[:3]
    assert [p.vote_id for p in collect] == [votes[0], votes[2]]
    assert blind.excluded == {"not_blind": 1, "other_mode": 0, "damaged": 0, "missing": 0}
    assert collect.excluded == {"not_blind": 1, "other_mode": 1, "damaged": 0, "missing": 0}
    assert next(iter(every)).a == (make_traces()[0],)
    assert every.excluded.total() == 0


def test_a_changed_value_is_found_by_the_checksum(tmp_path: Path, store: Store) -> None:
    for seed in range(10):
        store.vote(_finished(store, seed)[1], VOTER, "a")
    changes = [
        "UPDATE votes SET outcome = 'b'",
        "UPDATE votes SET tags = '[\"x\"]'",
        "UPDATE votes SET created = '2026-11-21T12:00:00.000001Z'",
        "UPDATE votes SET tags = 'no json'",
        "UPDATE votes SET created = x'ff'",
        "UPDATE battles SET family = CAST(x'ff41' AS TEXT)",
        "UPDATE battles SET \"left\" = 'a'",
        "UPDATE battles SET propensity = 0.5",
        "UPDATE battles SET request = replace(request, 'city', 'town')",
        "UPDATE traces SET packed = zeroblob(9)",
    ]
    connection = sqlite3.connect(tmp_path / "votes.sqlite3")
    ids = [row[0] for row in connection.execute("SELECT battle_id FROM votes ORDER BY rowid")]
    for change, battle in zip(changes, ids, strict=True):
        if "battles" in change:
            where = f"id = '{battle}'"
        elif "traces" in change:
            where = f"id = (SELECT trace_b FROM battles WHERE id = '{battle}')"
        else:
            where = f"battle_id = '{battle}'"
        connection.execute(f"{change} WHERE {where}")
    connection.commit()
    connection.close()
    selection = store.preferences()
    assert list(selection) == []
    assert selection.excluded["damaged"] == len(changes)


def test_eight_threads_on_one_battle_leave_one_vote(store: Store) -> None:
    battles = 12
    for seed in range(battles):
        _, token = _finished(store, seed)
        results = _at_once(8, lambda i, token=token: store.vote(token, VOTER, "a" if i % 2 else "b"))
        receipts = [result for result in results if isinstance(result, Receipt)]
        refusals = [result for result in results if isinstance(result, PlaygroundError)]
        assert len(receipts) == len(refusals) == 4
        assert len({receipt.vote_id for receipt in receipts}) == 1
        assert sum(not receipt.repeated for receipt in receipts) == 1
        assert {str(refusal) for refusal in refusals} == {
            "This battle already has a vote, and a battle takes one; start a new battle."
        }
    assert store.counts()["votes"] == battles


def _at_once(count: int, act: Callable[[int], object]) -> list[object]:
    barrier = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(i: int) -> None:
        barrier.wait()
        try:
            results[i] = act(i)
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_full_disk_is_one_sentence_and_the_vote_can_be_given_again(store: Store) -> None:
    _, token = _finished(store)
    battle = make_battle(VOTER)
    store.open_battle(battle)
    full = [True]

    @event.listens_for(store._database.engine, "begin")
    def limit(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages if full[0] else 2**30}")

    with pytest.raises(PlaygroundError, match=r"Nothing was saved.*full"):
        store.finish_battle(battle.id, make_traces(5, tokens=300))
    full[0] = False
    store.finish_battle(battle.id, make_traces(5, tokens=300))
    assert store.vote(token, VOTER, "a").repeated is False
    assert store.counts()["votes"] == 1
