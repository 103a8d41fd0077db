"""A connection to the vote store, so that an acknowledged vote survives a crash, a power cut and a crowd.

On SQLite: write-ahead logging only where the library has the fix of the WAL-reset bug (fixed in 3.51.3, 3.50.7 and
3.44.6; before that committed rows may be lost), else a rollback journal with synchronous=EXTRA. Both lose nothing at
a power cut. One writer at a time: threads wait on a mutex, processes on an OS file lock taken before BEGIN IMMEDIATE,
because SQLite's own busy handler is not fair. Other databases get SQLAlchemy's usual transactions.
"""

from __future__ import annotations

import platform
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from playground.errors import FaultError, PlaygroundError
from playground.feedback.damage import DamageError

BUSY_SECONDS = 15.0  # how long SQLite waits for a lock of a program that does not know our lock file
LOCK_SECONDS = 60.0  # how long a writer waits for its turn


class JournalPolicy(NamedTuple):
    journal_mode: str
    synchronous: str


def journal_policy(version: tuple[int, int, int]) -> JournalPolicy:
    """The durable journal for this version of the SQLite library."""
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return JournalPolicy("WAL", "FULL") if fixed else JournalPolicy("DELETE", "EXTRA")


def parse_url(text: str) -> URL:
    """The SQLAlchemy URL. Raises PlaygroundError where it is none, or names a SQLite database that is not a file."""
    try:
        url = make_url(text)
        url.get_backend_name()
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        raise PlaygroundError(
            f"The database URL {text[:200]!r} is not one SQLAlchemy knows; write for example sqlite:////folder/votes.sqlite3."
        ) from None
    if url.get_backend_name() == "sqlite" and (url.database in (None, "", ":memory:") or "uri" in url.query):
        raise PlaygroundError("A SQLite database URL must name a file, for example sqlite:////folder/votes.sqlite3.")
    return url


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL; None for any other database."""
    if url.get_backend_name() != "sqlite":
        return None
    return Path(url.database or "").expanduser().absolute()


class WriteLock:
    """One writer at a time, across threads and processes. The lock file stays; the OS frees it with its holder."""

    def __init__(self, path: Path, seconds: float = LOCK_SECONDS) -> None:
        self.path = path
        self._seconds = seconds
        self._mutex = threading.Lock()
        self._file = FileLock(path, timeout=seconds, poll_interval=0.005, thread_local=False)

    @contextmanager
    def held(self) -> Iterator[None]:
        if not self._mutex.acquire(timeout=self._seconds):
            raise PlaygroundError(self._busy())
        try:
            try:
                self._file.acquire()
            except Timeout:
                raise PlaygroundError(self._busy()) from None
            except OSError as error:
                raise FaultError(
                    f"The lock file {self.path} must be writable ({error.strerror}).",
                    "Nothing was saved: the database cannot be written now; try again later.",
                ) from None
            try:
                yield
            finally:
                self._file.release()
        finally:
            self._mutex.release()

    def _busy(self) -> str:
        return f"The database was busy for {self._seconds:g} s and nothing was saved; try again."


def lock_beside(path: Path) -> WriteLock:
    return WriteLock(path.with_name(path.name + ".lock"))


class Database:
    """An engine and its two kinds of transaction. `path` is the SQLite file, None elsewhere."""

    def __init__(self, url: URL, lock: WriteLock | None = None, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = sqlite_path(url)
        self.name = str(self.path or url.render_as_string(hide_password=True))
        if self.path is not None:
            url = url.set(database=str(self.path))
        self._lock = lock or (lock_beside(self.path) if self.path else None)
        self.engine = _engine(url)
        if self.path is not None:
            _obey_policy(self.engine, busy_seconds)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A write transaction: committed when the block ends, and only then; rolled back by any exception.

        Raises PlaygroundError where the database refuses (busy, full, read-only): nothing was saved.
        """
        with self._turn(), self._spoken("Nothing was saved"):
            engine = self.engine.execution_options(playground_writes=True)
            with Session(engine, expire_on_commit=False) as session, session.begin():
                session.connection()  # begins now, not at the first statement
                yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A read transaction. Keep it short: in rollback-journal mode a writer waits for its end."""
        with (
            self._spoken("Nothing could be read"),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A connection for schema changes, with foreign keys off as SQLite asks; the turn to write is held."""
        engine = self.engine.execution_options(playground_writes=True)
        with self._turn(), self._spoken("The schema was not changed"), engine.connect() as connection:
            if self.path is not None:
                _execute(connection, "PRAGMA foreign_keys=OFF")
            try:
                yield connection
            finally:
                connection.invalidate()

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._lock is None:
            yield
            return
        with self._lock.held():
            yield

    @contextmanager
    def _spoken(self, outcome: str) -> Iterator[None]:
        """A database that refuses, said in one sentence. Broken constraints pass through to those who know them."""
        try:
            yield
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.IntegrityError) or type(error).__name__ == "IntegrityError":
                raise
            if _corrupt(error.orig):
                raise DamageError(
                    f"{outcome}: the database is damaged; restore it from a copy.",
                    f"{outcome}: the database is damaged; tell the operator of this page.",
                ) from error
            answer = str(error.orig).strip()
            raise FaultError(
                f"{outcome}: {self.name} answered {answer!r}; try again.", f"{outcome}: {_in_words(answer)}."
            ) from error
        except UnicodeEncodeError:
            raise PlaygroundError(f"{outcome}: text must be valid Unicode, without half surrogates.") from None


def _in_words(answer: str) -> str:
    """What ails a database, for a visitor, who need not know where it lies."""
    known = {
        "lock": "the database is busy; try again",
        "full": "the disk of the server is full; tell its operator",
        "readonly": "the database cannot be written now; tell the operator of this page",
    }
    return next(
        (said for word, said in known.items() if word in answer), "the database does not answer; try again later"
    )


def _engine(url: URL) -> Engine:
    try:
        return create_engine(url, pool_size=8, max_overflow=32, hide_parameters=True)  # they hold prompts and voters
    except (ImportError, TypeError, ArgumentError) as error:
        shown = url.render_as_string(hide_password=True)
        raise PlaygroundError(
            f"The database {shown} cannot be used here ({error}); install its driver or use sqlite."
        ) from None


def _obey_policy(engine: Engine, busy_seconds: float) -> None:
    policy = journal_policy(sqlite3.sqlite_version_info[:3])

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, never by the driver
        connection.text_factory = _readable  # a damaged byte must reach the checksum, not end the reading
        for pragma in _pragmas(policy, busy_seconds):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("playground_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _corrupt(error: object) -> bool:
    """Whether SQLite says that its file holds what it cannot hold; the code's low byte is its kind."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _readable(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _pragmas(policy: JournalPolicy, busy_seconds: float) -> list[str]:
    pragmas = [
        f"busy_timeout={round(busy_seconds * 1000)}",  # first: the next ones may have to wait
        f"journal_mode={policy.journal_mode}",
        f"synchronous={policy.synchronous}",
        "foreign_keys=ON",
        "secure_delete=ON",
        "trusted_schema=OFF",
        "mmap_size=0",
    ]
    return [*pragmas, "fullfsync=ON"] if platform.system() == "Darwin" else pragmas


def _execute(connection: Connection, statement: str) -> None:
    """Outside of any transaction, which SQLAlchemy would begin."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(statement).close()
