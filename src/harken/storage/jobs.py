"""A queue of jobs in the database: many workers, each item ended exactly once, owners served in turn.

A worker claims an item for some seconds (its lease) and extends the lease while it works. A worker that dies stops
extending, and another claims the item again. Each claim has a token of its own, and only who holds the newest one may
end the item: work may be done twice, a result is written once.

Owners are served in turn by start-time fair queueing (Goyal, Vin and Cheng, 1996): each item gets a number when it is
queued, its owner's last number plus one, but not less than that of the items now being served; the lowest number goes
first. So an owner's thousandth item has number 1000, and somebody else's first item, queued while number 40 is served,
has number 40 and waits for one item of each other owner, not for 960.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from harken.core import InputError
from harken.storage.database import Database
from harken.storage.job_rows import end_job, hand_out, insert_items, is_held, job_with_key, lock_job, next_due
from harken.storage.job_views import (
    Claim,
    Depth,
    ItemResult,
    JobView,
    WrittenResult,
    read_depth,
    read_results,
    read_view,
    read_written_results,
)
from harken.storage.settings import JOB_ATTEMPTS
from harken.storage.tables import job_items, jobs
from harken.storage.values import check_json, check_name

MAX_PAGE = 1000  # results in one answer
MAX_URL = 2000
_DELETED_AT_ONCE = 100  # jobs: a longer transaction would hold up the workers
_LOST = {"code": "worker_lost", "message": "The worker ended without an answer."}


class JobQueue:
    """Jobs, each of one or more items. Everything here blocks: an event loop calls it through `calls`.

    `max_attempts` is how often an item is begun; after that it fails with its last error. Every method raises
    MissingPart while the database cannot be used.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.time, *, max_attempts: int = JOB_ATTEMPTS
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}; use 1 or more")
        self._database = database
        self._clock = clock
        self._max_attempts = max_attempts
        self.calls = database.calls

    def create(
        self,
        kind: str,
        payload: Mapping[str, Any],
        items: Sequence[Mapping[str, Any]],
        *,
        owner: str,
        webhook: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Queue a job and return its id. An owner who uses a key again gets the first job's id, and no second job.

        Raises InputError for a job without items, for values JSON has no form for, and for names a database refuses.
        """
        values = {
            "id": secrets.token_hex(16),
            "kind": check_name("kind", kind, 100),
            "owner": check_name("owner", owner, 200),
            "payload": check_json("payload", payload),
            "webhook": None if webhook is None else check_name("webhook", webhook, MAX_URL),
            "idempotency_key": None if idempotency_key is None else check_name("idempotency_key", idempotency_key, 200),
            "open_items": len(items),
            "created_s": self._clock(),
        }
        if not items:
            raise InputError("A job needs at least one item.")
        for position, item in enumerate(items):
            check_json(f"item {position}", item)
        with self._database.write() as connection:
            known = job_with_key(connection, owner, idempotency_key)
            if known is not None:
                return known
            try:
                with connection.begin_nested():
                    connection.execute(insert(jobs).values(**values))
            except IntegrityError:  # the same key at the same moment: the other one is written by now
                known = job_with_key(connection, owner, idempotency_key)
                if known is None:
                    raise
                return known
            insert_items(connection, values, items)
        return str(values["id"])

    def claim(self, worker: str, kinds: Sequence[str], *, lease_s: float) -> Claim | None:
        """The next item of the first of `kinds` that has one, for `lease_s` seconds; None when nothing is due."""
        check_name("worker", worker, 200)
        for kind in kinds:
            claim = self._claim_kind(worker, kind, lease_s)
            if claim is not None:
                return claim
        return None

    def extend(self, claim: Claim, lease_s: float) -> bool:
        """Keep an item for `lease_s` seconds from now. False when it is another's or cancelled: stop working on it."""
        return self._update_held(claim, due_s=self._clock() + lease_s)

    def complete(self, claim: Claim, result: Mapping[str, Any]) -> bool:
        """End an item with its result. False, and nothing is written, when the claim holds no more."""
        check_json("result", result)
        return self._end(claim.job_id, claim.position, claim.lease, "done", result=result)

    def fail(self, claim: Claim, error: Mapping[str, Any], *, retry_in_s: float | None) -> bool:
        """Give an item back for another attempt after `retry_in_s` seconds; None, or no attempt left: it has failed.

        False, and nothing is written, when the claim holds no more.
        """
        check_json("error", error)
        if retry_in_s is None or claim.attempt >= self._max_attempts:
            return self._end(claim.job_id, claim.position, claim.lease, "failed", error=error)
        due_s = self._clock() + retry_in_s
        return self._update_held(
            claim, state="queued", due_s=due_s, error=error, lease=None, worker=None, held_up_s=None
        )

    def pay(self, claim: Claim) -> bool:
        """Note that an item's audio comes off its owner's quota now: True once in the life of an item, however often
        it is begun. False also when the claim holds no more.

        Whoever gets True charges afterwards. So no item is charged twice, and a worker that dies in between has left
        the one item that it held uncharged.
        """
        with self._database.write() as connection:
            unpaid = and_(is_held(claim.job_id, claim.position, claim.lease), job_items.c.is_paid.is_(False))
            return connection.execute(update(job_items).where(unpaid).values(is_paid=True)).rowcount == 1

    def give_back(self, claim: Claim) -> bool:
        """Leave an item to another worker, as if it had not been begun. False when the claim holds no more."""
        return self._give_back(claim, self._clock())

    def hold_up(self, claim: Claim, error: Mapping[str, Any], *, retry_in_s: float) -> bool:
        """Give an item back for `retry_in_s` seconds because of an outage, with no attempt spent.

        From the first time on, until an attempt is spent on it, its claims say since when it is held up. False, and
        nothing is written, when the claim holds no more.
        """
        check_json("error", error)
        now_s = self._clock()
        since_s = now_s if claim.held_up_s is None else claim.held_up_s
        return self._give_back(claim, now_s + retry_in_s, error=error, held_up_s=since_s)

    def now_s(self) -> float:
        """The Unix time by the clock of the queue."""
        return self._clock()

    def cancel(self, job_id: str) -> bool:
        """End a job and drop what is not done; results that are there stay. False when it has ended or is unknown."""
        with self._database.write() as connection:
            job = lock_job(connection, job_id)
            if job is None or job.ended is not None:
                return False
            now_s = self._clock()
            connection.execute(
                update(job_items)
                .where(job_items.c.job_id == job_id, job_items.c.due_s.is_not(None))
                .values(state="cancelled", due_s=None, lease=None, finished_s=now_s, held_up_s=None)
            )
            end_job(connection, job, now_s, cancelled=True)
        return True

    def view(self, job_id: str, owner: str | None = None) -> JobView | None:
        """A job; None where there is none, or where it is not `owner`'s (None: whoever's)."""
        with self._database.read() as connection:
            return read_view(connection, job_id, owner)

    def results(self, job_id: str, offset: int = 0, limit: int = 100) -> list[ItemResult]:
        """Items of a job in their order, ended or not, at most `limit` (1 to MAX_PAGE). Raises InputError."""
        if offset < 0 or not 1 <= limit <= MAX_PAGE:
            raise InputError(f"offset is {offset} and limit {limit}; use 0 or more, and 1 to {MAX_PAGE}.")
        with self._database.read() as connection:
            return read_results(connection, job_id, offset=offset, limit=limit)

    def written_results(self, job_id: str, offset: int = 0, limit: int = 100) -> list[WrittenResult]:
        """As `results`, with the JSON of each result as it was stored: nothing reads and writes it again."""
        with self._database.read() as connection:
            return read_written_results(connection, job_id, offset=offset, limit=limit)

    def depth(self) -> Depth:
        """How many items wait and how many are worked on, in all jobs."""
        with self._database.read() as connection:
            return read_depth(connection)

    def delete_older(self, seconds: float) -> int:
        """Forget jobs that ended more than `seconds` ago, with their results and messages; returns how many."""
        deleted = 0
        while True:
            old = select(jobs.c.id).where(jobs.c.finished_s < self._clock() - seconds).limit(_DELETED_AT_ONCE)
            with self._database.write() as connection:
                ids = list(connection.execute(old).scalars())
                connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
            deleted += len(ids)
            if len(ids) < _DELETED_AT_ONCE:
                return deleted

    def _claim_kind(self, worker: str, kind: str, lease_s: float) -> Claim | None:
        while True:
            now_s = self._clock()
            with self._database.write() as connection:
                row = connection.execute(next_due(kind, now_s)).first()
                if row is None:
                    return None
                if row.attempts < self._max_attempts:
                    return hand_out(connection, row, worker, now_s, lease_s)
            # Its last worker died, as all before it did: this item may be what kills them.
            self._end(row.job_id, row.position, row.lease, "failed", error=row.error or _LOST)

    def _give_back(self, claim: Claim, due_s: float, **values: Any) -> bool:
        return self._update_held(
            claim,
            state="queued",
            due_s=due_s,
            lease=None,
            worker=None,
            attempts=claim.attempt - 1,
            **values,
        )

    def _update_held(self, claim: Claim, **values: Any) -> bool:
        with self._database.write() as connection:
            held = is_held(claim.job_id, claim.position, claim.lease)
            return connection.execute(update(job_items).where(held).values(**values)).rowcount == 1

    def _end(self, job_id: str, position: int, lease: str, state: Literal["done", "failed"], **outcome: Any) -> bool:
        """End an item if the lease still holds, and its job with the last one, in one transaction."""
        with self._database.write() as connection:
            # The job's row comes before its items' in every transaction that takes both: no two wait for each other.
            job = lock_job(connection, job_id)
            now_s = self._clock()
            ended = (
                update(job_items)
                .where(is_held(job_id, position, lease))
                .values(state=state, due_s=None, lease=None, finished_s=now_s, held_up_s=None, **outcome)
            )
            if job is None or connection.execute(ended).rowcount == 0:
                return False
            if job.open_items == 1:
                end_job(connection, job, now_s)
            else:
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(open_items=job.open_items - 1))
        return True
