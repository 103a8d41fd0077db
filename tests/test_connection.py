"""The connection policy: durable journal, one writer at a time, transactions begun explicitly."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from playground.errors import PlaygroundError
from playground.feedback.connection import Database, JournalPolicy, WriteLock, journal_policy, parse_url
from playground.feedback.opening import open_database

WAL, ROLLBACK = JournalPolicy("WAL", "FULL"), JournalPolicy("DELETE", "EXTRA")


@pytest.mark.parametrize(
    ("version", "policy"),
    [
        ((3, 40, 1), ROLLBACK),
        ((3, 44, 5), ROLLBACK),
        ((3, 44, 6), WAL),
        ((3, 45, 0), ROLLBACK),
        ((3, 46, 1), ROLLBACK),
        ((3, 50, 6), ROLLBACK),
        ((3, 50, 7), WAL),
        ((3, 51, 0), ROLLBACK),
        ((3, 51, 2), ROLLBACK),
        ((3, 51, 3), WAL),
        ((3, 53, 0), WAL),
    ],
)
def test_only_a_library_with_the_fix_gets_the_write_ahead_log(
    version: tuple[int, int, int], policy: JournalPolicy
) -> None:
    assert journal_policy(version) == policy


def test_every_connection_obeys_the_policy(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'votes.sqlite3'}")
    policy = journal_policy(sqlite3.sqlite_version_info[:3])
    expected = {
        "busy_timeout": 15_000,
        "journal_mode": policy.journal_mode.lower(),
        "synchronous": {"FULL": 2, "EXTRA": 3}[policy.synchronous],
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
    }
    with database.engine.connect() as one, database.engine.connect() as two:
        for connection in (one, two):
            found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in expected}
            assert found == expected
    database.close()


def test_a_write_takes_the_database_at_once_and_a_read_does_not(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite3"
    database = open_database(f"sqlite:///{path}")
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    with database.reading():
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    with database.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()
    database.close()


def test_a_database_held_by_another_program_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite3"
    database = open_database(f"sqlite:///{path}", busy_seconds=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(PlaygroundError, match=r"Nothing was saved.*locked"), database.writing():
        pass
    other.execute("ROLLBACK")
    with database.writing():
        pass
    other.close()
    database.close()


def test_an_exception_in_a_write_leaves_nothing(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'votes.sqlite3'}")

    def interrupted() -> None:
        with database.writing() as session:
            session.execute(text("INSERT INTO agreements VALUES ('v', 'n', '2026-11-21T00:00:00.000000Z')"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM agreements")).scalar() == 0
    database.close()


def test_one_holder_of_the_lock_at_a_time_across_locks_on_one_file(tmp_path: Path) -> None:
    inside, most, entries = 0, 0, 0
    guard = threading.Lock()

    def enter(lock: WriteLock) -> None:
        nonlocal inside, most, entries
        for _ in range(20):
            with lock.held():
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1
                    entries += 1

    locks = [WriteLock(tmp_path / "lock") for _ in range(2)]
    threads = [threading.Thread(target=enter, args=(locks[i % 2],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, entries) == (1, 120)


def test_a_lock_that_stays_taken_is_one_sentence(tmp_path: Path) -> None:
    with WriteLock(tmp_path / "lock").held():
        refused: list[str] = []

        def wait() -> None:
            try:
                with WriteLock(tmp_path / "lock", seconds=0.05).held():
                    pass
            except PlaygroundError as error:
                refused.append(str(error))

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert refused == ["The database was busy for 0.05 s and nothing was saved; try again."]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "votes.sqlite3",
        "nosuch://x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=ro&uri=true",
        "sqlite+no:///x",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(PlaygroundError, match=r"sqlite:////folder/votes\.sqlite3"):
        parse_url(url)


def test_a_database_without_its_driver_is_refused_without_its_password() -> None:
    with pytest.raises(PlaygroundError, match="driver") as error:
        Database(parse_url("postgresql+psycopg2://user:secret@nowhere/votes"))
    assert "secret" not in str(error.value)
