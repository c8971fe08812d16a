"""The tables in the code, the migrations, and the number of the newest one agree."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from harken.storage.database import Database
from harken.storage.migrations.run import knows, newest
from harken.storage.tables import HEAD, metadata


def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    with database.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_constraints_and_indexes_have_the_same_names(database: Database) -> None:
    with database.read() as connection:
        look = inspect(connection)
        for table in metadata.sorted_tables:
            indexes = {index["name"] for index in look.get_indexes(table.name)} - {"jobs_owner_idempotency_key_unique"}
            assert indexes == {str(index.name) for index in table.indexes}
            assert look.get_pk_constraint(table.name)["name"] == f"{table.name}_pkey"


def test_the_code_names_the_newest_migration() -> None:
    assert newest() == HEAD
    assert knows(HEAD)
    assert not knows("9999")
