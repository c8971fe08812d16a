"""Messages that have to reach a webhook: written with the job's end, sent later, as often as it takes."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from harken.core import InputError
from harken.storage.database import Database
from harken.storage.tables import deliveries, jobs
from harken.storage.values import storable

MAX_ERROR = 1000  # letters kept of what went wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that this caller may send now. `body` is the same at every attempt; `attempt` counts from 1."""

    id: str
    job_id: str
    url: str
    body: str
    attempt: int
    created_s: float
    lease: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """Where a message stands: `waiting`, `sent` or `failed`, and the last error."""

    id: str
    url: str
    state: str
    attempts: int
    next_try_s: float | None
    error: str | None


class DeliveryQueue:
    """The outbox of webhooks. Everything here blocks: an event loop calls it through `calls`.

    A message is sent at least once: a sender that dies after the send and before `done` has it sent again, so the
    receiver tells repeats by the delivery's id.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self.calls = database.calls

    def add(self, job_id: str, url: str, body: str) -> str:
        """Queue a message and return its id. Raises InputError for a job that is not stored."""
        with self._database.write() as connection:
            if connection.execute(select(jobs.c.id).where(jobs.c.id == job_id)).first() is None:
                raise InputError(f"There is no job {job_id!r} to deliver for.")
            return add_delivery(connection, job_id=job_id, url=url, body=body, now_s=self._clock())

    def claim(self, *, lease_s: float) -> Delivery | None:
        """The message that waits longest, taken for `lease_s` seconds; None when none is due."""
        now_s = self._clock()
        with self._database.write() as connection:
            row = connection.execute(_next_due(now_s)).first()
            if row is None:
                return None
            lease = secrets.token_hex(16)
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id == row.id)
                .values(lease=lease, attempts=row.attempts + 1, next_try_s=now_s + lease_s)
            )
        return Delivery(
            id=row.id,
            job_id=row.job_id,
            url=row.url,
            body=row.body,
            attempt=row.attempts + 1,
            created_s=row.created_s,
            lease=lease,
        )

    def done(self, delivery: Delivery) -> bool:
        """It arrived. False when another sender took it meanwhile."""
        return self._settle(delivery, state="sent", finished_s=self._clock(), next_try_s=None, error=None)

    def failed(self, delivery: Delivery, error: str, *, retry_in_s: float | None) -> bool:
        """It did not arrive: try again after `retry_in_s` seconds, None: never. False when another sender took it."""
        now_s = self._clock()
        error = storable(error, MAX_ERROR)
        if retry_in_s is None:
            return self._settle(delivery, state="failed", finished_s=now_s, next_try_s=None, error=error)
        return self._settle(delivery, next_try_s=now_s + retry_in_s, error=error)

    def of_job(self, job_id: str) -> list[DeliveryView]:
        """The messages of a job, oldest first."""
        rows = select(deliveries).where(deliveries.c.job_id == job_id).order_by(deliveries.c.created_s)
        with self._database.read() as connection:
            return [
                DeliveryView(
                    id=row.id,
                    url=row.url,
                    state=row.state,
                    attempts=row.attempts,
                    next_try_s=row.next_try_s,
                    error=row.error,
                )
                for row in connection.execute(rows)
            ]

    def depth(self) -> int:
        """How many messages are not settled."""
        with self._database.read() as connection:
            count = select(func.count()).select_from(deliveries).where(deliveries.c.next_try_s.is_not(None))
            return connection.execute(count).scalar_one()

    def delete_older(self, seconds: float) -> int:
        """Forget messages settled more than `seconds` ago; returns how many."""
        with self._database.write() as connection:
            old = delete(deliveries).where(deliveries.c.finished_s < self._clock() - seconds)
            return connection.execute(old).rowcount

    def _settle(self, delivery: Delivery, **values: object) -> bool:
        held = (deliveries.c.id == delivery.id) & (deliveries.c.lease == delivery.lease)
        with self._database.write() as connection:
            return connection.execute(update(deliveries).where(held).values(lease=None, **values)).rowcount == 1


def add_delivery(connection: Connection, *, job_id: str, url: str, body: str, now_s: float) -> str:
    """Queue a message inside a transaction that is already open; returns its id."""
    delivery_id = secrets.token_hex(16)
    connection.execute(
        insert(deliveries).values(
            id=delivery_id,
            job_id=job_id,
            url=url,
            body=body,
            state="waiting",
            attempts=0,
            created_s=now_s,
            next_try_s=now_s,
        )
    )
    return delivery_id


def _next_due(now_s: float) -> "Select[tuple[str, str, str, str, int, float]]":
    columns = deliveries.c
    return (
        select(columns.id, columns.job_id, columns.url, columns.body, columns.attempts, columns.created_s)
        .where(columns.next_try_s.is_not(None), columns.next_try_s <= now_s)
        .order_by(columns.next_try_s)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
