"""What workers and owners see of a job."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, Text, func, select, type_coerce

from harken.storage.tables import job_items, jobs

_OUTCOME = (job_items.c.position, job_items.c.state, job_items.c.payload, job_items.c.error)

JobState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An item that one worker may work on while its lease lasts.

    `payload` is the item's, `job_payload` that of its job. `attempt` counts from 1. `lease` proves the claim.
    `held_up_s` is the Unix time since which an outage keeps it from being done.
    """

    job_id: str
    position: int
    kind: str
    owner: str
    payload: Mapping[str, Any]
    job_payload: Mapping[str, Any] = field(default_factory=dict)
    attempt: int
    lease: str
    held_up_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job and how many of its items are in each state.

    `done`: every item has ended and at least one with a result; `failed`: all failed. `queued`: nobody took an item
    yet. `held_up` are those of the queued and running ones that an outage has kept from being done.
    """

    id: str
    kind: str
    owner: str
    state: JobState
    payload: Mapping[str, Any]
    items: int
    queued: int
    running: int
    held_up: int
    done: int
    failed: int
    cancelled: int
    created_s: float
    finished_s: float | None

    def summary(self) -> dict[str, Any]:
        """The view as plain values, without the payload, which may hold what its owner did not write."""
        names = ("id", "kind", "state", "items", "queued", "running", "held_up", "done", "failed", "cancelled")
        return {name: getattr(self, name) for name in (*names, "created_s", "finished_s")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """One item: its place in the job, and what came of it."""

    position: int
    state: JobState
    payload: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenResult:
    """An item whose `result` is the JSON that was stored, to be passed on unread."""

    position: int
    state: JobState
    payload: Mapping[str, Any]
    result: str | None
    error: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Items that wait and items that are worked on; `oldest_s` is the Unix time at which the first of the waiting
    ones was queued, None where none waits.
    """

    queued: int
    running: int
    oldest_s: float | None


def read_view(connection: Connection, job_id: str, owner: str | None = None) -> JobView | None:
    """A job; None where there is none, or where it is somebody else's."""
    job = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if job is None or (owner is not None and job.owner != owner):
        return None
    by_state = (
        select(job_items.c.state, func.count().label("number"), func.count(job_items.c.held_up_s).label("held_up"))
        .where(job_items.c.job_id == job_id)
        .group_by(job_items.c.state)
    )
    rows = connection.execute(by_state).all()
    counts: dict[str, int] = {row.state: row.number for row in rows}
    items = sum(counts.values())
    return JobView(
        id=job.id,
        kind=job.kind,
        owner=job.owner,
        state=job.ended or ("queued" if counts.get("queued", 0) == items else "running"),
        payload=job.payload,
        items=items,
        queued=counts.get("queued", 0),
        running=counts.get("running", 0),
        held_up=sum(row.held_up for row in rows),
        done=counts.get("done", 0),
        failed=counts.get("failed", 0),
        cancelled=counts.get("cancelled", 0),
        created_s=job.created_s,
        finished_s=job.finished_s,
    )


def read_results(connection: Connection, job_id: str, *, offset: int, limit: int) -> list[ItemResult]:
    """Items in their order, from position `offset` on."""
    columns = (*_OUTCOME, job_items.c.result, job_items.c.attempts)
    return [ItemResult(**row) for row in connection.execute(_items(columns, job_id, offset, limit)).mappings()]


def read_written_results(connection: Connection, job_id: str, *, offset: int, limit: int) -> list[WrittenResult]:
    """As `read_results`, for whoever passes the results on."""
    columns = (*_OUTCOME, type_coerce(job_items.c.result, Text).label("result"))
    return [WrittenResult(**row) for row in connection.execute(_items(columns, job_id, offset, limit)).mappings()]


def _items(columns: tuple[ColumnElement[Any], ...], job_id: str, offset: int, limit: int) -> Select[Any]:
    which = (job_items.c.job_id == job_id, job_items.c.position >= offset)
    return select(*columns).where(*which).order_by(job_items.c.position).limit(limit)


def read_depth(connection: Connection) -> Depth:
    """How full the queue is."""
    by_state = (
        select(job_items.c.state, func.count(), func.min(job_items.c.created_s))
        .where(job_items.c.due_s.is_not(None))
        .group_by(job_items.c.state)
    )
    found: dict[str, tuple[int, float]] = {
        state: (count, first) for state, count, first in connection.execute(by_state)
    }
    queued, oldest_s = found.get("queued", (0, None))
    return Depth(queued=queued, running=found.get("running", (0, None))[0], oldest_s=oldest_s)
