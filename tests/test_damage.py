"""A database with a flipped bit (some 400 of them), a value of another type or a row gone.

Every vote is given as it was or counted with a reason, or all is refused in one sentence.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from playground.errors import PlaygroundError
from playground.feedback import connection
from playground.feedback.connection import JournalPolicy
from playground.feedback.export import export
from playground.feedback.schema import Base
from playground.feedback.store import Store
from playground.records import OUTCOMES, Request
from playground.training.exclusions import count
from tests.samples import NOTICE, make_battle, make_traces

VOTES = 6  # blind ones; one more is of Compare
VOTER = "voter-1"
COLUMNS = [(table.name, column.name) for table in Base.metadata.sorted_tables for column in table.columns]


@dataclass
class Original:
    """The database before the damage, what an export of it holds, and the tokens of its battles, two without a vote."""

    raw: bytes
    key: bytes
    lines: dict[str, set[str]]
    tokens: list[str]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    folder = tmp_path_factory.mktemp("original")
    store = opened(folder)
    store.agree(VOTER, NOTICE)
    tokens = []
    for number in range(VOTES + 2):
        battle = make_battle(VOTER, request=Request(f"Prompt {number}."))
        tokens.append(store.open_battle(battle))
        store.finish_battle(battle.id, make_traces(number, 5))
        if number < VOTES:
            store.vote(
                tokens[-1], VOTER, OUTCOMES[number % 4], "much", ["clear"], [{"arm": "a", "start": 0, "stop": 2}]
            )
    store.record_open_vote(make_battle(VOTER, blind=False), make_traces(9, 5), "a")
    lines = {form: exported(store, folder, form)[0] for form in ("lpo", "csv")}
    store.close()
    return Original(
        (folder / "votes.sqlite3").read_bytes(), (folder / "signing.key").read_bytes(),
        {form: set(found) for form, found in lines.items()}, tokens,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(connection, "journal_policy", lambda version: JournalPolicy("DELETE", "OFF"))


def opened(folder: Path) -> Store:
    return Store.open(f"sqlite:///{folder / 'votes.sqlite3'}", folder)


def exported(store: Store, folder: Path, form: str) -> tuple[list[str], dict[str, int]]:
    """The lines of an export, and its votes by what became of them."""
    manifest = export(store, folder / f"votes.{form}", form)
    with (folder / f"votes.{form}").open(encoding="utf-8", newline="") as file:
        lines = [str(row) for row in csv.reader(file)][1:] if form == "csv" else list(file)
    assert manifest["preferences"] == len(lines)
    return lines, {"given": len(lines), **manifest["excluded"]}


def outcome(original: Original, raw: bytes, folder: Path) -> str:
    """same, counted or refused; anything else that happens to a damaged database fails here."""
    (folder / "votes.sqlite3").write_bytes(raw)
    (folder / "signing.key").write_bytes(original.key)
    try:
        store = opened(folder)
    except PlaygroundError as error:
        one_sentence(error)
        return "refused"
    try:
        return read(original, store, folder)
    finally:
        store.close()


def read(original: Original, store: Store, folder: Path) -> str:
    found = "same"
    for form in ("lpo", "csv"):
        try:
            lines, votes = exported(store, folder, form)
        except PlaygroundError as error:
            one_sentence(error)
            found = "refused"
            continue
        assert set(lines) <= original.lines[form], "a changed value is exported as good"
        assert len(set(lines)) == len(lines), "a vote is exported twice"
        assert sum(votes.values()) == VOTES + 1, f"a vote is neither given nor counted: {votes}"
        found = "same" if len(lines) == VOTES and found == "same" else found if found == "refused" else "counted"
    for use in uses(original, store):
        try:
            use()
        except PlaygroundError as error:
            one_sentence(error)
    return found


def uses(original: Original, store: Store) -> Iterator[Callable[[], object]]:
    """What the pages ask of the store."""
    yield store.counts
    yield lambda: store.agree(VOTER, NOTICE)
    for level in ("token", "sequence"):
        yield lambda level=level: count(store.preferences(), level)
    for token in (original.tokens[0], original.tokens[-1]):
        battle = token.partition(".")[0]
        for ask in (store.battle, store.state, store.traces):
            yield lambda ask=ask, battle=battle: ask(battle)
        yield lambda token=token: store.vote(token, VOTER, "a", "much", ["clear"])
        yield lambda token=token: store.reveal(token, VOTER)


def one_sentence(error: PlaygroundError) -> None:
    assert "\n" not in str(error)
    assert "\0" not in str(error)


@pytest.mark.parametrize("seed", range(8))
def test_no_flipped_bit_of_the_file_loses_or_changes_a_vote(original: Original, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    found = Counter(outcome(original, flipped(original.raw, draw), tmp_path) for _ in range(25))
    assert found["counted"] > 0, found


def flipped(raw: bytes, draw: random.Random, start: int = 0, length: int | None = None) -> bytes:
    changed = bytearray(raw)
    changed[start + draw.randrange(len(raw) if length is None else length)] ^= 1 << draw.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_bit_of_any_column_flipped_in_the_row_and_in_its_indexes(
    original: Original, table: str, column: str, tmp_path: Path
) -> None:
    draw = random.Random(f"{table}.{column}")
    with sqlite3.connect(":memory:") as memory:
        memory.deserialize(original.raw)
        values = [row[0] for row in memory.execute(f'SELECT CAST("{column}" AS BLOB) FROM "{table}"') if row[0]]
    for value in draw.sample(values, min(2, len(values))):
        places, at = [], original.raw.find(value)
        while at >= 0 and len(places) < 50:
            places.append(at)
            at = original.raw.find(value, at + 1)
        for at in draw.sample(places, min(2, len(places))):  # a short value stands in other places too: as good
            outcome(original, flipped(original.raw, draw, at, len(value)), tmp_path)


def test_a_bit_of_a_header_flipped(original: Original, tmp_path: Path) -> None:
    """The 100 bytes of the file's own header, then the first bytes of every page."""
    draw = random.Random(1)
    for start in range(0, len(original.raw), 4096):
        for _ in range(40 if start == 0 else 2):
            outcome(original, flipped(original.raw, draw, start, 108 if start == 0 else 12), tmp_path)


WRONG = {
    "null": None, "number": 7, "huge number": 2**62, "real": 1e300, "infinite": 1e999, "text": "x", "empty": "", "bytes": b"\xff\0",
    "no UTF-8": b"\xff\xfe", "deep": "[" * 100_000, "other JSON": '{"a": 1}', "NaN": '{"prompt": NaN, "stop": []}',
    "half a surrogate": '["\\ud800"]', "many digits": "9" * 5000, "line": "a\nb\0c",
}  # fmt: skip


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_value_of_another_type_or_none(original: Original, table: str, column: str, tmp_path: Path) -> None:
    """NOT NULL, CHECK, UNIQUE's index and foreign keys are no help against damage, so the schema is relaxed first."""
    for kind, value in WRONG.items():
        with sqlite3.connect(":memory:") as memory:
            memory.deserialize(relaxed(original.raw))
            as_text = "CAST(? AS TEXT)" if kind == "no UTF-8" else "?"
            try:
                where = f'rowid = (SELECT min(rowid) FROM "{table}")'
                memory.execute(f'UPDATE "{table}" SET "{column}" = {as_text} WHERE {where}', (value,))
            except sqlite3.IntegrityError:  # a row number must be a whole number
                continue
            memory.commit()
            raw = memory.serialize()
        outcome(original, raw, tmp_path)


def relaxed(raw: bytes) -> bytes:
    with sqlite3.connect(":memory:") as memory:
        memory.deserialize(raw)
        memory.execute("PRAGMA writable_schema = ON")
        memory.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL,', ',') WHERE type = 'table'")
        memory.execute("UPDATE sqlite_master SET sql = replace(sql, 'CHECK (', 'CHECK (1 OR ') WHERE type = 'table'")
        memory.commit()
        return memory.serialize()


@pytest.mark.parametrize("table", [table.name for table in Base.metadata.sorted_tables])
def test_rows_that_are_gone_leave_counted_votes(original: Original, table: str, tmp_path: Path) -> None:
    with sqlite3.connect(":memory:") as memory:
        memory.deserialize(original.raw)
        memory.execute(f'DELETE FROM "{table}" WHERE rowid = (SELECT min(rowid) FROM "{table}")')
        memory.commit()
        raw = memory.serialize()
    assert outcome(original, raw, tmp_path) == ("same" if table == "agreements" else "counted")


@pytest.mark.parametrize("seed", range(4))
def test_a_bit_flipped_inside_a_packed_trace_and_packed_again(original: Original, seed: int, tmp_path: Path) -> None:
    """The sum that zlib keeps is right again; timings are no part of the trace's hash and must not change either."""
    draw = random.Random(seed)
    with sqlite3.connect(":memory:") as memory:
        memory.deserialize(original.raw)
        packed = memory.execute("SELECT packed FROM traces WHERE id = 1").fetchone()[0]
    body = zlib.decompress(packed)
    timings = body.find(b'"timings":{')
    found: Counter[str] = Counter()
    for place in range(12):
        start, length = (timings, 60) if place % 3 == 0 else (0, len(body))
        with sqlite3.connect(":memory:") as memory:
            memory.deserialize(original.raw)
            changed = zlib.compress(flipped(body, draw, start, length), 9)
            memory.execute("UPDATE traces SET packed = ? WHERE id = 1", (changed,))
            memory.commit()
            raw = memory.serialize()
        found[outcome(original, raw, tmp_path)] += 1
    assert found["counted"] > 8, found


def test_a_trace_stored_before_its_timings_had_a_sum_is_read(original: Original, tmp_path: Path) -> None:
    with sqlite3.connect(":memory:") as memory:
        memory.deserialize(original.raw)
        packed = memory.execute("SELECT packed FROM traces WHERE id = 1").fetchone()[0]
        text, _, planes = zlib.decompress(packed).partition(b"\0")
        head = json.loads(text)
        del head["timings_crc"]
        older = zlib.compress(json.dumps(head).encode() + b"\0" + planes)
        memory.execute("UPDATE traces SET packed = ? WHERE id = 1", (older,))
        memory.commit()
        raw = memory.serialize()
    assert outcome(original, raw, tmp_path) == "same"
