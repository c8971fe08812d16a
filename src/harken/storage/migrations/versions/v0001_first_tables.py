"""The first tables: keys, the audit of requests, jobs, deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("secret_hash", sa.String(200), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("expires_s", sa.Double()),
        sa.Column("revoked_s", sa.Double()),
        sa.Column("rate", sa.String(100)),
        sa.Column("audio_s_per_day", sa.BigInteger()),
        sa.Column("streams", sa.Integer()),
        sa.Column("last_used_s", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="api_keys_pkey"),
    )
    _create_requests()
    _create_jobs()
    _create_deliveries()


def _create_requests() -> None:
    op.create_table(
        "requests",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False),
        sa.Column("principal", sa.String(200), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(200)),
        sa.Column("audio_s", sa.Double()),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("text", sa.Text()),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="requests_pkey"),
    )
    op.create_index("requests_by_time", "requests", ["at_s"])
    op.create_index("requests_by_principal", "requests", ["principal", "at_s"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("webhook", sa.Text()),
        sa.Column("idempotency_key", sa.String(200)),
        sa.Column("ended", sa.String(20)),
        sa.Column("open_items", sa.Integer(), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("finished_s", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="jobs_pkey"),
        sa.UniqueConstraint("owner", "idempotency_key", name="jobs_owner_idempotency_key_unique"),
    )
    op.create_index("jobs_by_end", "jobs", ["finished_s"])
    op.create_table(
        "job_items",
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("due_s", sa.Double()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("lease", sa.String(64)),
        sa.Column("result", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("started_s", sa.Double()),
        sa.Column("finished_s", sa.Double()),
        sa.PrimaryKeyConstraint("job_id", "position", name="job_items_pkey"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="job_items_job_id_fkey", ondelete="CASCADE"),
    )
    op.create_index("job_items_by_state", "job_items", ["job_id", "state"])
    open_items = "due_s IS NOT NULL"
    order = ["kind", "turn", "created_s", "job_id", "position"]
    _create_partial_index("job_items_open", "job_items", order, open_items)
    _create_partial_index("job_items_open_by_owner", "job_items", ["kind", "owner", "turn"], open_items)


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("next_try_s", sa.Double()),
        sa.Column("lease", sa.String(64)),
        sa.Column("error", sa.Text()),
        sa.Column("finished_s", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="deliveries_pkey"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="deliveries_job_id_fkey", ondelete="CASCADE"),
    )
    op.create_index("deliveries_by_job", "deliveries", ["job_id"])
    _create_partial_index("deliveries_waiting", "deliveries", ["next_try_s"], "next_try_s IS NOT NULL")


def _create_partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


def downgrade() -> None:
    for table in ("deliveries", "job_items", "jobs", "requests", "api_keys"):
        op.drop_table(table)
