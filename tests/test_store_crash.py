"""No acknowledged vote is lost when its process is killed, and writers in many processes do not refuse each other."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from playground.feedback.store import Store

KILLS, WRITERS = 30, 3
ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")


def _start(folder: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.vote_writer", str(folder), name, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)


def _acknowledged(process: subprocess.Popen[bytes]) -> list[tuple[str, str]]:
    """What the process has said until its end; a line that the kill cut short was not said."""
    assert process.stdout is not None
    lines = process.stdout.read().split(b"\n")[:-1]
    process.stdout.close()
    process.wait()
    pairs = (line.decode().split(" ") for line in lines if b" " in line)
    return [(battle, vote) for battle, vote in pairs]


def _stored(folder: Path) -> set[tuple[str, str]]:
    connection = sqlite3.connect(folder / "votes.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    stored = set(connection.execute("SELECT battle_id, id FROM votes"))
    connection.close()
    return stored


def test_no_acknowledged_vote_is_lost_in_thirty_kills(tmp_path: Path) -> None:
    draw = random.Random(0)
    acknowledged: list[tuple[str, str]] = []
    writers = [_start(tmp_path, f"writer-{i}", 10**9) for i in range(WRITERS)]
    for writer in writers:
        _await_ready(writer)
    for kill in range(KILLS):
        time.sleep(draw.uniform(0, 0.15))
        index = kill % WRITERS
        victim = writers[index]
        assert victim.poll() is None, "a writer ended by itself"
        victim.kill()
        acknowledged += _acknowledged(victim)
        writers[index] = _start(tmp_path, f"writer-{kill + WRITERS}", 10**9)
        _await_ready(writers[index])
    for writer in writers:
        assert writer.poll() is None, "a writer ended by itself"
        writer.kill()
        acknowledged += _acknowledged(writer)
    stored = _stored(tmp_path)
    lost = set(acknowledged) - stored
    print(f"kills {KILLS + WRITERS}, acknowledged {len(acknowledged)}, stored {len(stored)}, lost {len(lost)}")
    assert not lost
    assert len(acknowledged) > KILLS
    store = Store.open(f"sqlite:///{tmp_path / 'votes.sqlite3'}", tmp_path)
    selection = store.preferences()
    assert sum(1 for _ in selection) == len(stored)
    assert selection.excluded["damaged"] == 0
    store.close()


def _await_ready(writer: subprocess.Popen[bytes]) -> None:
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"


def test_eight_processes_store_every_vote(tmp_path: Path) -> None:
    count = 15
    writers = [_start(tmp_path, f"writer-{i}", count) for i in range(8)]
    acknowledged = [pair for writer in writers for pair in _acknowledged(writer)]
    assert [writer.returncode for writer in writers] == [0] * 8
    assert len(acknowledged) == len(set(acknowledged)) == 8 * count
    assert _stored(tmp_path) == set(acknowledged)
