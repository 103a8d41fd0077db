"""The database itself refuses what must never be stored, whoever writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.feedback.store import Store
from tests.samples import NOTICE, make_battle, make_traces

FINISHED, RUNNING, VOTED = "finished-battle", "running-battle", "voted-battle"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A plain connection to a store with one finished, one running and one voted battle."""
    store = Store.open(f"sqlite:///{tmp_path / 'votes.sqlite3'}", tmp_path)
    store.agree("voter-1", NOTICE)
    tokens = {name: store.open_battle(make_battle(id=name)) for name in (FINISHED, RUNNING, VOTED)}
    store.finish_battle(FINISHED, make_traces(1))
    store.finish_battle(VOTED, make_traces(2))
    store.vote(tokens[VOTED], "voter-1", "a")
    store.close()
    connection = sqlite3.connect(tmp_path / "votes.sqlite3", isolation_level=None)
    connection.execute("PRAGMA foreign_keys=ON")
    yield connection
    connection.close()


def _vote(battle: str, vote: str = "new", state: str = "voted", outcome: str = "a", seconds: float = 1.0) -> str:
    columns = "id, battle_id, state, outcome, tags, spans, seconds, created, checksum"
    return f"INSERT INTO votes ({columns}) VALUES ('{vote}', '{battle}', '{state}', '{outcome}', '[]', '[]', {seconds}, '', '')"


@pytest.mark.parametrize(
    "statement",
    [
        _vote(VOTED),
        _vote(FINISHED),
        _vote(RUNNING),
        _vote(FINISHED, state="finished"),
        _vote("unknown"),
        f"UPDATE battles SET state = 'voted' WHERE id = '{RUNNING}'",
        f"UPDATE battles SET state = 'finished' WHERE id = '{RUNNING}'",
        f"UPDATE battles SET state = 'finished' WHERE id = '{VOTED}'",
        f"UPDATE battles SET state = 'failed' WHERE id = '{RUNNING}'",
        f"UPDATE battles SET state = 'nonsense' WHERE id = '{RUNNING}'",
        f"UPDATE battles SET trace_b = trace_a WHERE id = '{FINISHED}'",
        f"UPDATE battles SET trace_a = (SELECT trace_a FROM battles WHERE id = '{VOTED}') WHERE id = '{FINISHED}'",
        f"UPDATE battles SET trace_a = 999 WHERE id = '{FINISHED}'",
        f"UPDATE battles SET trace_a = NULL WHERE id = '{FINISHED}'",
        f"UPDATE battles SET voter = 'nobody' WHERE id = '{FINISHED}'",
        f"UPDATE battles SET notice = 'other' WHERE id = '{FINISHED}'",
        f"UPDATE battles SET \"left\" = 'c' WHERE id = '{FINISHED}'",
        f"UPDATE battles SET mode = 'both' WHERE id = '{FINISHED}'",
        f"UPDATE battles SET propensity = 0 WHERE id = '{FINISHED}'",
        f"UPDATE battles SET propensity = 1.01 WHERE id = '{FINISHED}'",
        f"UPDATE battles SET propensity = NULL WHERE id = '{FINISHED}'",
        "UPDATE traces SET stop = 'cancelled'",
        "UPDATE traces SET stop = 'error'",
        "UPDATE votes SET outcome = 'left'",
        "UPDATE votes SET strength = 'huge'",
        "UPDATE votes SET seconds = -1",
        "DELETE FROM agreements",
        "DELETE FROM traces",
        "DELETE FROM battles",
    ],
)
def test_the_database_refuses(connection: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_the_same_statements_with_lawful_values_pass(connection: sqlite3.Connection) -> None:
    """Else the refusals above could come from anything."""
    connection.execute(f"UPDATE battles SET state = 'voted' WHERE id = '{FINISHED}'")
    connection.execute(_vote(FINISHED))
    connection.execute(f"UPDATE battles SET state = 'failed', reason = 'out of memory' WHERE id = '{RUNNING}'")
    connection.execute("UPDATE votes SET strength = 'much', seconds = 0")
    connection.execute("UPDATE battles SET propensity = 1")
