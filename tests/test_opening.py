"""A doubtful database file is refused with a sentence and not changed by a byte."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from playground.errors import PlaygroundError
from playground.feedback.opening import open_database
from playground.feedback.schema import APPLICATION_ID, SCHEMA_VERSION
from playground.feedback.store import Store
from tests.samples import NOTICE, make_battle, make_traces


def _filled(path: Path) -> None:
    store = Store.open(f"sqlite:///{path}", path.parent)
    store.agree("voter-1", NOTICE)
    for seed in range(8):
        store.record_open_vote(make_battle(blind=False), make_traces(seed), "a")
    store.close()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("not a database\n" * 100)


def _zeroed_header(path: Path) -> None:
    _filled(path)
    path.write_bytes(bytes(16) + path.read_bytes()[16:])


def _cut(path: Path) -> None:
    _filled(path)
    path.write_bytes(path.read_bytes()[: 3 * 4096 + 100])


def _cut_in_header(path: Path) -> None:
    _filled(path)
    path.write_bytes(path.read_bytes()[:60])


def _garbage_page(path: Path) -> None:
    _filled(path)
    content = bytearray(path.read_bytes())
    content[2 * 4096 : 3 * 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE battles (id)")
    connection.commit()
    connection.close()


def _newer(path: Path) -> None:
    _filled(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("mutate", "sentence"),
    [
        (_empty, r"is empty \(0 bytes\)"),
        (_text, "is not a SQLite database"),
        (_zeroed_header, "is not a SQLite database"),
        (_cut, "is damaged"),
        (_cut_in_header, "is cut short"),
        (_garbage_page, "is damaged"),
        (_foreign, "belongs to another application"),
        (_newer, "upgrade the playground"),
        (_folder, "must be a file"),
    ],
)
def test_a_doubtful_file_is_refused_and_kept(mutate: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite3"
    mutate(path)
    before = _digest(path)
    with pytest.raises(PlaygroundError, match=sentence) as error:
        open_database(f"sqlite:///{path}")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert _digest(path) == before


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read any file")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite3"
    _filled(path)
    path.chmod(0)
    with pytest.raises(PlaygroundError, match="must be readable"):
        open_database(f"sqlite:///{path}")


def test_a_missing_file_is_created_private_marked_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "votes.sqlite3"
    open_database(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == ["votes.sqlite3", "votes.sqlite3.lock"]


def test_a_draft_left_by_a_crash_during_creation_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite3"
    for name in ("votes.sqlite3.new", "votes.sqlite3.new-journal"):
        (tmp_path / name).write_bytes(b"half a database")
    open_database(f"sqlite:///{path}").close()
    open_database(f"sqlite:///{path}").close()
    assert not list(tmp_path.glob("*.new*"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaygroundError, match="cannot be made"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'votes.sqlite3'}")


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite3"
    _filled(path)
    before = _digest(path)
    open_database(f"sqlite:///{path}").close()
    assert _digest(path) == before
