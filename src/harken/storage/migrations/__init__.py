"""The history of the tables, as Alembic runs it; `harken.storage.database` starts it."""
