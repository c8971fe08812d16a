"""The statements behind the queue, each inside a transaction that the caller holds."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, insert, select, update

from harken.storage.columns import to_json
from harken.storage.deliveries import add_delivery
from harken.storage.job_views import Claim, JobState, read_view
from harken.storage.tables import job_items, jobs

_ITEM = job_items.c

AnyRow = Row[*tuple[Any, ...]]


def job_with_key(connection: Connection, owner: str, idempotency_key: str | None) -> str | None:
    """The job that an owner queued under a key."""
    if idempotency_key is None:
        return None
    found = select(jobs.c.id).where(jobs.c.owner == owner, jobs.c.idempotency_key == idempotency_key)
    return connection.execute(found).scalar()


def lock_job(connection: Connection, job_id: str) -> AnyRow | None:
    """A job without its payload, held to the end of the transaction."""
    columns = (jobs.c.id, jobs.c.webhook, jobs.c.ended, jobs.c.open_items)
    return connection.execute(select(*columns).where(jobs.c.id == job_id).with_for_update()).first()


def insert_items(connection: Connection, job: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
    """The items of a new job, with their places in the round of owners."""
    first = _first_turn(connection, job["kind"], job["owner"])
    shared = {name: job[name] for name in ("kind", "owner", "created_s")}
    rows = [
        {**shared, "job_id": job["id"], "position": position, "payload": item, "turn": first + position}
        for position, item in enumerate(items)
    ]
    connection.execute(insert(job_items).values(state="queued", due_s=0.0, attempts=0), rows)


def next_due(kind: str, now_s: float) -> Select[Any]:
    """The open item of a kind whose turn it is: waiting, or held by a lease that has run out."""
    return (
        select(job_items)
        .where(_ITEM.kind == kind, _ITEM.due_s.is_not(None), _ITEM.due_s <= now_s)
        .order_by(_ITEM.turn, _ITEM.created_s, _ITEM.job_id, _ITEM.position)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def hand_out(connection: Connection, row: AnyRow, worker: str, now_s: float, lease_s: float) -> Claim:
    """Give an item to a worker, under a new token."""
    lease = secrets.token_hex(16)
    connection.execute(
        update(job_items)
        .where(_ITEM.job_id == row.job_id, _ITEM.position == row.position)
        .values(
            state="running",
            due_s=now_s + lease_s,
            attempts=row.attempts + 1,
            worker=worker,
            lease=lease,
            started_s=now_s,
        )
    )
    return Claim(
        job_id=row.job_id,
        position=row.position,
        kind=row.kind,
        owner=row.owner,
        payload=row.payload,
        job_payload=connection.execute(select(jobs.c.payload).where(jobs.c.id == row.job_id)).scalar_one(),
        attempt=row.attempts + 1,
        lease=lease,
        held_up_s=row.held_up_s,
    )


def is_held(job_id: str, position: int, lease: str) -> ColumnElement[bool]:
    """Whether an item is still under this token."""
    return and_(_ITEM.job_id == job_id, _ITEM.position == position, _ITEM.state == "running", _ITEM.lease == lease)


def end_job(connection: Connection, job: AnyRow, now_s: float, *, cancelled: bool = False) -> None:
    """Mark a job whose last item ended, and queue the message to its webhook."""
    done = select(func.count()).where(_ITEM.job_id == job.id, _ITEM.state == "done")
    ended: JobState = "done" if connection.execute(done).scalar_one() else "failed"
    if cancelled:
        ended = "cancelled"
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(open_items=0, ended=ended, finished_s=now_s))
    if job.webhook is None:
        return
    view = read_view(connection, job.id)
    assert view is not None
    body = to_json({"event": f"job.{ended}", "job": view.summary()})
    add_delivery(connection, job_id=job.id, url=job.webhook, body=body, now_s=now_s)


def _first_turn(connection: Connection, kind: str, owner: str) -> int:
    """The number of an owner's next item (jobs.py says what the numbers are for).

    The round is where the first item stands that nobody has taken yet. Items taken before do not count: one that
    comes back from a dead worker has an old number, from which a newcomer must not start.
    """
    is_open = and_(_ITEM.kind == kind, _ITEM.due_s.is_not(None))
    untouched = select(func.min(_ITEM.turn)).where(is_open, _ITEM.started_s.is_(None))
    round_now = connection.execute(untouched).scalar()
    if round_now is None:
        round_now = connection.execute(select(func.max(_ITEM.turn)).where(is_open)).scalar()
    own_last = connection.execute(select(func.max(_ITEM.turn)).where(is_open, _ITEM.owner == owner)).scalar()
    return max(round_now or 0, -1 if own_last is None else own_last + 1)
