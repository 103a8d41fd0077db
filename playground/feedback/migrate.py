"""Bring a database to the newest schema, driven from code: no alembic.ini, no command.

All pending revisions and the version mark are one transaction (migrations/env.py), so a crash at any statement leaves
the old schema and the next start begins again.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from playground.errors import PlaygroundError
from playground.feedback.connection import Database

FOLDER = Path(__file__).parent / "migrations"


def upgrade(database: Database, folder: Path = FOLDER) -> None:
    """Apply every pending migration of `folder`. Raises PlaygroundError for a schema this version does not know."""
    with database.migrating() as connection:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise PlaygroundError(
                f"The schema of {database.name} is not one this version knows ({error}); use the version that wrote it."
            ) from None
