"""Votes in plain sqlite3: the store's pragmas and number of transactions, with no ORM, no checks and no checksums."""

from __future__ import annotations

import sqlite3
import uuid
import zlib
from pathlib import Path

from playground.decoding.trace import Trace, canonical_json
from playground.feedback.connection import journal_policy

SCHEMA = (
    "CREATE TABLE battle (id TEXT PRIMARY KEY, prompt TEXT, arm_a TEXT, arm_b TEXT, state TEXT)",
    "CREATE TABLE trace (battle TEXT REFERENCES battle, side TEXT, body BLOB, PRIMARY KEY (battle, side))",
    "CREATE TABLE vote (id TEXT PRIMARY KEY, battle TEXT UNIQUE REFERENCES battle, outcome TEXT)",
)


class PlainVotes:
    """One connection to one file, as durable as the store's."""

    def __init__(self, path: Path) -> None:
        policy = journal_policy(sqlite3.sqlite_version_info[:3])
        self._connection = sqlite3.connect(path, isolation_level=None)
        journal, synchronous = f"journal_mode={policy.journal_mode}", f"synchronous={policy.synchronous}"
        for pragma in (journal, synchronous, "foreign_keys=ON", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}").close()
        self._write([(statement, ()) for statement in SCHEMA])

    def cast(self, traces: tuple[Trace, Trace]) -> None:
        """A battle, its two replies, its vote: three committed transactions."""
        battle = str(uuid.uuid4())
        arms = (traces[0].policy, traces[1].policy)
        self._write([("INSERT INTO battle VALUES (?,?,?,?,'running')", (battle, traces[0].prompt, *arms))])
        bodies = [zlib.compress(canonical_json(trace.to_record()).encode(), 9) for trace in traces]
        stored = [("INSERT INTO trace VALUES (?,?,?)", (battle, *pair)) for pair in zip("ab", bodies, strict=True)]
        self._write([*stored, ("UPDATE battle SET state='finished' WHERE id=?", (battle,))])
        vote = ("INSERT INTO vote VALUES (?,?,'a')", (str(uuid.uuid4()), battle))
        self._write([vote, ("UPDATE battle SET state='voted' WHERE id=?", (battle,))])

    def count(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM vote").fetchone()[0])

    def close(self) -> None:
        self._connection.close()

    def _write(self, statements: list[tuple[str, tuple[object, ...]]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for text, values in statements:
            self._connection.execute(text, values)
        self._connection.execute("COMMIT")
