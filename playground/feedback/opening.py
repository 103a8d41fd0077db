"""Opening the vote store: a missing file is created whole, an older one upgraded, anything doubtful left untouched.

A file that is empty, another program's, damaged or from a newer version is refused with one sentence; it is not
changed by a single byte. A new database is built beside its place and moved there when complete, so a crash during
the first start leaves nothing to trip over.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL

from playground.errors import PlaygroundError
from playground.feedback.connection import BUSY_SECONDS, Database, lock_beside, parse_url, sqlite_path
from playground.feedback.schema import APPLICATION_ID, SCHEMA_VERSION, Base

MAGIC = b"SQLite format 3\0"
HEADER = 100  # bytes
REMEDY = "move it away to start a new one, restore a copy there, or give another --database-url"


def open_database(text: str, busy_seconds: float = BUSY_SECONDS) -> Database:
    """The database at a SQLAlchemy URL, at the newest schema; created where there is none.

    Raises PlaygroundError for a URL that is none, and for a database that this version cannot trust or use.
    """
    url = parse_url(text)
    path = sqlite_path(url)
    if path is None:
        database = Database(url)
        _upgrade(database)
        return database
    _make_folder(path)
    lock = lock_beside(path)
    with lock.held():
        if not path.exists():
            _create(url, path)
        version = inspect_file(path, busy_seconds)
    database = Database(url, lock, busy_seconds)
    if version < SCHEMA_VERSION:
        _copy_aside(path, version)
        _upgrade(database)
    return database


def inspect_file(path: Path, busy_seconds: float = BUSY_SECONDS) -> int:
    """The schema version of our SQLite file, once it is known to be ours and whole. Changes nothing.

    Raises PlaygroundError naming the path and what would work.
    """
    header = _header(path)
    if not header:
        raise PlaygroundError(f"The database file {path} is empty (0 bytes); {REMEDY}.")
    if not header.startswith(MAGIC):
        raise PlaygroundError(f"The file {path} is not a SQLite database; {REMEDY}.")
    if len(header) < HEADER:
        raise PlaygroundError(f"The database file {path} is cut short ({len(header)} bytes); {REMEDY}.")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise PlaygroundError(f"The database {path} belongs to another application; {REMEDY}.")
    version = _checked_version(path, busy_seconds)
    if version > SCHEMA_VERSION:
        raise PlaygroundError(
            f"The database {path} has schema {version} and this version knows up to {SCHEMA_VERSION}; "
            "upgrade the playground or give another --database-url."
        )
    return version


def _header(path: Path) -> bytes:
    if not path.is_file():
        raise PlaygroundError(f"The database path {path} must be a file; give another --database-url.")
    try:
        with path.open("rb") as file:
            header = file.read(HEADER)
    except OSError as error:
        raise PlaygroundError(f"The database file {path} must be readable ({error.strerror}).") from None
    if not os.access(path, os.W_OK):
        raise PlaygroundError(f"The database file {path} must be writable; change its permissions.")
    return header


def _checked_version(path: Path, busy_seconds: float) -> int:
    """PRAGMA quick_check, user_version and the columns, before any pragma that could write."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=busy_seconds)
        try:
            finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            if finding == "ok" and version == SCHEMA_VERSION:
                _read_no_row(connection)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeError) as error:  # a damaged schema may not even be text
        finding, version = str(error) if isinstance(error, sqlite3.Error) else "its schema is not text", 0
    if finding != "ok":
        raise PlaygroundError(f"The database {path} is damaged ({' '.join(finding.split())}); {REMEDY}.")
    return version


def _read_no_row(connection: sqlite3.Connection) -> None:
    """Names every column that is ever asked for: a damaged schema can be a schema still, with other names."""
    for table in Base.metadata.sorted_tables:
        columns = ", ".join(f'"{table.name}"."{column.name}"' for column in table.columns)
        connection.execute(f'SELECT {columns} FROM "{table.name}" LIMIT 0').close()


def _create(url: URL, path: Path) -> None:
    draft = path.with_name(path.name + ".new")
    for leftover in (draft, draft.with_name(draft.name + "-journal"), draft.with_name(draft.name + "-wal")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    database = Database(url.set(database=str(draft)))
    try:
        _upgrade(database)
    finally:
        database.close()
        draft.with_name(draft.name + ".lock").unlink(missing_ok=True)
    os.replace(draft, path)
    sync_folder(path.parent)


def _upgrade(database: Database) -> None:
    from playground.feedback.migrate import upgrade  # Alembic is needed only where the schema is not the newest

    upgrade(database)


def _copy_aside(path: Path, version: int) -> None:
    """A whole copy before the schema changes; one from an earlier, interrupted upgrade is kept."""
    copy = path.with_name(f"{path.name}.schema-{version}")
    if copy.exists():
        return
    connection = sqlite3.connect(path)
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
    finally:
        connection.close()


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise PlaygroundError(
            f"The folder {path.parent} cannot be made ({error.strerror}); give another --database-url."
        ) from None


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
