"""Votes a second through the vote store, beside plain sqlite3 at the same durability; size and time of a stored trace.

A vote is three committed transactions on both sides: the battle, its two replies, the vote. Both sides write to one
folder with the same pragmas, one thread each, in turns. The plain side stores a reply as zlib of its JSON and checks
nothing; the store checks tokens, states and arms, packs the replies and chains checksums.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value
from benchmarks.measure.rounds import LEAST, Spread, in_turns, ratios
from benchmarks.yardsticks.plain_sqlite import PlainVotes
from playground.decoding.trace import Trace, canonical_json
from playground.feedback.connection import journal_policy
from playground.feedback.store import Store
from playground.feedback.trace_codec import pack, unpack
from playground.parts import Request, load_parts
from playground.records import Battle

TITLE = "votes a second and the size of a stored reply, beside plain sqlite3 and zlib of JSON"
PROMPT = "Write a short story about a lighthouse keeper who counts ships."
VOTER, NOTICE = "voter", "benchmark"


def run(asked: Asked) -> Result:
    votes, tokens = asked.size(100, 5), asked.size(128, 32)
    parts = load_parts(asked.settings)
    learned = "adaptive-token" if parts.heads else "edt"
    a, b = parts.generate(Request(PROMPT, max_tokens=tokens), ["fixed:temperature=0.7", learned])
    asked.progress(f"two replies decoded, {len(a.steps)} and {len(b.steps)} tokens")
    folder = asked.settings.data_folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        rates = _rates(Path(scratch), (a, b), votes)
    asked.progress("votes cast")
    policy = journal_policy(sqlite3.sqlite_version_info[:3])
    how = conditions(
        "sqlalchemy",
        model=parts.language_model,
        rounds=LEAST,
        votes_a_round=votes,
        sqlite=sqlite3.sqlite_version,
        journal=policy.journal_mode,
        synchronous=policy.synchronous,
    )
    note = "Both sides commit three durable transactions a vote; what a commit costs is the disk's."
    return Result("database", how, [rates, _codec((a, b))], (note,))


def _rates(folder: Path, traces: tuple[Trace, Trace], votes: int) -> Table:
    store = Store.open(f"sqlite:///{folder / 'store.sqlite3'}", folder)
    store.agree(VOTER, NOTICE)
    plain = PlainVotes(folder / "plain.sqlite3")
    try:
        measures = {
            "playground store": partial(_votes_a_second, votes, lambda: _through_store(store, traces)),
            "plain sqlite3": partial(_votes_a_second, votes, lambda: plain.cast(traces)),
        }
        found = in_turns(measures, LEAST)
        assert store.counts()["votes"] == plain.count() == votes * LEAST
    finally:
        store.close()
        plain.close()
    rows: list[dict[str, Value]] = [
        {"what": name, "votes/s": Spread.of(values), "ratio to plain": ratios(values, found["plain sqlite3"])}
        for name, values in found.items()
    ]
    return Table("Votes a second", {"what": "", "votes/s": ".0f", "ratio to plain": ".2f"}, rows)


def _votes_a_second(votes: int, cast: Callable[[], None], _round: int) -> float:
    began = time.perf_counter()
    for _ in range(votes):
        cast()
    return votes / (time.perf_counter() - began)


def _through_store(store: Store, traces: tuple[Trace, Trace]) -> None:
    battle = Battle(
        id=str(uuid.uuid4()),
        mode="collect",
        blind=True,
        request=Request(PROMPT),
        family=None,
        arms=(traces[0].policy, traces[1].policy),
        left="a",
        propensity=1.0,
        voter=VOTER,
        notice=NOTICE,
        created=datetime.now(UTC),
    )
    token = store.open_battle(battle)
    store.finish_battle(battle.id, traces)
    store.vote(token, VOTER, "a")


def _codec(traces: tuple[Trace, Trace]) -> Table:
    """Bytes a token and milliseconds a reply of the packed trace and of zlib over canonical JSON."""
    steps = sum(len(trace.steps) for trace in traces)
    texts = [canonical_json(trace.to_record()).encode() for trace in traces]
    blobs = [pack(trace) for trace in traces]
    zipped = [zlib.compress(text, 9) for text in texts]
    assert [unpack(blob) for blob in blobs] == list(traces)
    times = in_turns(
        {
            "pack": partial(_milliseconds, lambda: [pack(trace) for trace in traces]),
            "zip": partial(
                _milliseconds,
                lambda: [zlib.compress(canonical_json(trace.to_record()).encode(), 9) for trace in traces],
            ),
            "unpack": partial(_milliseconds, lambda: [unpack(blob) for blob in blobs]),
            "unzip": partial(
                _milliseconds, lambda: [Trace.from_record(json.loads(zlib.decompress(blob))) for blob in zipped]
            ),
        },
        LEAST,
    )
    each = {name: Spread.of([value / len(traces) for value in values]) for name, values in times.items()}
    size = len(b"".join(zipped))
    rows: list[dict[str, Value]] = [
        {
            "what": "packed trace",
            "bytes a token": len(b"".join(blobs)) / steps,
            "ratio": len(b"".join(blobs)) / size,
            "write ms": each["pack"],
            "read ms": each["unpack"],
        },
        {
            "what": "zlib of JSON",
            "bytes a token": size / steps,
            "ratio": 1.0,
            "write ms": each["zip"],
            "read ms": each["unzip"],
        },
        {"what": "JSON", "bytes a token": len(b"".join(texts)) / steps, "ratio": len(b"".join(texts)) / size},
    ]
    columns = {"what": "", "bytes a token": ".0f", "ratio": ".2f", "write ms": ".1f", "read ms": ".1f"}
    return Table("A stored reply (both sides check the sha256 when they read)", columns, rows)


def _milliseconds(work: Callable[[], object], _round: int) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)
