"""The tables, as the code sees them; `migrations/` makes them. Times (`*_s`) are Unix seconds.

A change here needs a migration, and `HEAD` names the newest one; tests compare all three.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from harken.storage.columns import ROW_ID, Json

HEAD = "0002"  # the newest migration: after it there are exactly these tables

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_index",
        "uq": "%(table_name)s_%(column_0_N_name)s_unique",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("secret_hash", String(200), nullable=False),
    Column("scopes", Json, nullable=False),  # a list of names
    Column("created_s", Double, nullable=False),
    Column("expires_s", Double),
    Column("revoked_s", Double),
    Column("rate", String(100)),  # as the limiter writes it: "10/second"
    Column("audio_s_per_day", BigInteger),
    Column("streams", Integer),
    Column("last_used_s", Double),
)

requests = Table(
    "requests",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("at_s", Double, nullable=False),
    Column("request_id", String(200), nullable=False),
    Column("principal", String(200), nullable=False),
    Column("route", String(200), nullable=False),
    Column("status", Integer, nullable=False),
    Column("model", String(200)),
    Column("audio_s", Double),
    Column("duration_s", Double, nullable=False),
    Column("text", Text),
    Column("details", Json, nullable=False),
    Index("requests_by_time", "at_s"),
    Index("requests_by_principal", "principal", "at_s"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(100), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("payload", Json, nullable=False),
    Column("webhook", Text),
    Column("idempotency_key", String(200)),
    Column("ended", String(20)),  # done, failed or cancelled; NULL while items are open
    Column("open_items", Integer, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("finished_s", Double),
    UniqueConstraint("owner", "idempotency_key"),
    Index("jobs_by_end", "finished_s"),
)

# `due_s` is when an item may be taken: 0 at first, later the end of a pause or of a lease; NULL once it has ended.
# `turn` is its place in the round of owners (see jobs.py).
job_items = Table(
    "job_items",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(100), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("payload", Json, nullable=False),
    Column("state", String(20), nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("due_s", Double),
    Column("attempts", Integer, nullable=False),
    Column("worker", String(200)),
    Column("lease", String(64)),  # a random token; whoever holds it may end the item
    Column("result", Json),
    Column("error", Json),
    Column("started_s", Double),
    Column("finished_s", Double),
    Column("held_up_s", Double),  # since when an outage keeps it from being worked on; NULL: none does
    Column("is_paid", Boolean, nullable=False, server_default=false()),  # its audio is off its owner's quota
    Index("job_items_by_state", "job_id", "state"),
    Index(
        "job_items_open",
        "kind",
        "turn",
        "created_s",
        "job_id",
        "position",
        sqlite_where=text("due_s IS NOT NULL"),
        postgresql_where=text("due_s IS NOT NULL"),
    ),
    Index(
        "job_items_open_by_owner",
        "kind",
        "owner",
        "turn",
        sqlite_where=text("due_s IS NOT NULL"),
        postgresql_where=text("due_s IS NOT NULL"),
    ),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),  # the bytes that are signed: every attempt sends the same
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("next_try_s", Double),  # NULL once it has ended
    Column("lease", String(64)),
    Column("error", Text),
    Column("finished_s", Double),
    Index("deliveries_by_job", "job_id"),
    Index(
        "deliveries_waiting",
        "next_try_s",
        sqlite_where=text("next_try_s IS NOT NULL"),
        postgresql_where=text("next_try_s IS NOT NULL"),
    ),
)
