"""Alembic migrations, one file a schema version, numbered from 0001. A released one is never edited."""
