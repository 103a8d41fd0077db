"""Alembic's entry: every pending revision and the version mark in one explicit transaction.

Alembic's default leaves SQLite in autocommit around DDL, so a crash halfway leaves columns that the next run trips
over. Here `connection.begin()` is BEGIN IMMEDIATE (see connection.py) and SQLite rolls DDL back like anything else.
"""

from alembic import context
from sqlalchemy import Connection

from playground.feedback.schema import APPLICATION_ID, Base


def run(connection: Connection) -> None:
    with connection.begin():
        context.configure(
            connection=connection, target_metadata=Base.metadata, transactional_ddl=True, render_as_batch=True
        )
        context.run_migrations()
        if connection.dialect.name == "sqlite":
            _mark(connection)


def _mark(connection: Connection) -> None:
    """Refuse broken references; write the application's id and the schema's number into the file's header."""
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise RuntimeError(f"a migration left a broken reference: {tuple(broken)}")
    version = int(str(context.get_head_revision()))
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {version}")


run(context.config.attributes["connection"])
