"""Run by Alembic: the migrations, on the connection and in the transaction that the caller holds."""

from alembic import context

from harken.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite too rolls tables back, once BEGIN is ours
    render_as_batch=True,  # SQLite alters a table by writing it anew
)
with context.begin_transaction():
    context.run_migrations()
