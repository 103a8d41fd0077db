"""The migrations lead to the models, and a crash at any statement of one leaves a database that the next run upgrades."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, event

from playground.errors import PlaygroundError
from playground.feedback.connection import Database, parse_url
from playground.feedback.migrate import FOLDER, upgrade
from playground.feedback.opening import open_database
from playground.feedback.schema import SCHEMA_VERSION, Base

NEXT = '''"""A later revision: two changes, so that a crash can fall between them."""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade() -> None:
    op.add_column("votes", sa.Column("risk", sa.Double()))
    op.add_column("votes", sa.Column("flagged", sa.Boolean()))
    op.execute("UPDATE agreements SET notice = notice || '!'")
'''
CHILD = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from playground.feedback.connection import Database, parse_url
from playground.feedback.migrate import upgrade
database, at = Database(parse_url(sys.argv[1])), [int(sys.argv[3])]
@event.listens_for(database.engine, "after_cursor_execute")
def kill(*_):
    at[0] -= 1
    if at[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
upgrade(database, Path(sys.argv[2]))
"""


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The migrations with one more after them."""
    folder = tmp_path / "migrations"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0002_later.py").write_text(NEXT)
    return folder


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database at the schema of today, with a row in it."""
    path = tmp_path / "votes.sqlite3"
    open_database(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO agreements VALUES ('v', 'n', '2026-11-21T00:00:00.000000Z')")
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def test_the_newest_migration_is_the_models(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'votes.sqlite3'}")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_the_newest_migration_has_the_models_constraints(tmp_path: Path) -> None:
    """Alembic does not compare checks; the statements themselves do."""
    database = open_database(f"sqlite:///{tmp_path / 'votes.sqlite3'}")
    plain = create_engine(f"sqlite:///{tmp_path / 'plain.sqlite3'}")
    Base.metadata.create_all(plain)
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name <> 'alembic_version'"
    tables = []
    for engine in (database.engine, plain):
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(query).all()
        tables.append({name: sorted(line.strip(" \t,") for line in sql.splitlines()) for name, sql in rows})
        engine.dispose()
    assert tables[0] == tables[1]
    assert set(tables[0]) == {"agreements", "battles", "traces", "votes"}


def test_the_version_mark_is_the_number_of_the_newest_migration() -> None:
    newest = max((FOLDER / "versions").glob("[0-9]*.py")).name
    assert int(newest[:4]) == SCHEMA_VERSION


def test_a_later_migration_keeps_the_rows(url: str, later: Path) -> None:
    upgrade(Database(parse_url(url)), later)
    _assert_upgraded(url)


def test_a_schema_of_an_unknown_version_is_refused(url: str, later: Path) -> None:
    upgrade(Database(parse_url(url)), later)
    with pytest.raises(PlaygroundError, match="not one this version knows"):
        upgrade(Database(parse_url(url)))


def test_an_exception_after_any_statement_rolls_the_migration_back(url: str, later: Path) -> None:
    statements = 0
    while True:
        database, left = Database(parse_url(url)), [statements + 1]

        @event.listens_for(database.engine, "after_cursor_execute")
        def fail(*_: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise RuntimeError("crash")

        try:
            upgrade(database, later)
        except RuntimeError:
            statements += 1
            assert _schema(url) == (1, 0)
            continue
        finally:
            database.close()
        break
    assert statements >= 6
    _assert_upgraded(url)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_between_statements_rolls_the_migration_back(url: str, later: Path) -> None:
    kills = 0
    for at in range(2, 40, 3):
        command = [sys.executable, "-c", CHILD, url, str(later), str(at)]
        code = subprocess.run(command, cwd=Path(__file__).parent.parent, check=False).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    else:
        pytest.fail("the migration never ended")
    assert kills >= 2
    _assert_upgraded(url)


def _schema(url: str) -> tuple[int, int]:
    """The version mark, and how many of the later columns are there."""
    connection = sqlite3.connect(parse_url(url).database or "")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    names = [row[1] for row in connection.execute("PRAGMA table_info(votes)")]
    connection.close()
    return version, len({"risk", "flagged"} & set(names))


def _assert_upgraded(url: str) -> None:
    assert _schema(url) == (2, 2)
    connection = sqlite3.connect(parse_url(url).database or "")
    assert connection.execute("SELECT notice FROM agreements").fetchall() == [("n!",)]
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
