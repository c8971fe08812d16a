"""The queue: one result per item, owners in turn, attempts bounded, on SQLite and PostgreSQL alike."""

import json
import threading
from typing import Any

import pytest
from sqlalchemy import func, select, update
from tests.storage.conftest import Clock

from harken.core import InputError
from harken.storage.database import Database
from harken.storage.deliveries import DeliveryQueue
from harken.storage.job_views import Claim
from harken.storage.jobs import JobQueue
from harken.storage.tables import job_items, jobs


@pytest.fixture
def queue(database: Database, clock: Clock) -> JobQueue:
    return JobQueue(database, clock, max_attempts=3)


def create(queue: JobQueue, items: int = 1, *, owner: str = "ann", kind: str = "files", **given: Any) -> str:
    return queue.create(kind, {"model": "m"}, [{"n": n} for n in range(items)], owner=owner, **given)


def claim(queue: JobQueue, *, worker: str = "w", lease_s: float = 10.0) -> Claim:
    found = queue.claim(worker, ["files"], lease_s=lease_s)
    assert found is not None
    return found


def test_an_item_goes_through_the_queue(queue: JobQueue, clock: Clock) -> None:
    job_id = create(queue, 2)
    view = queue.view(job_id)
    assert view is not None
    assert (view.state, view.items, view.queued, view.payload) == ("queued", 2, 2, {"model": "m"})
    assert view.created_s == clock.now_s
    first = claim(queue)
    assert (first.job_id, first.position, first.payload, first.job_payload) == (job_id, 0, {"n": 0}, {"model": "m"})
    assert (first.kind, first.owner, first.attempt) == ("files", "ann", 1)
    clock.now_s += 5
    assert queue.complete(first, {"text": "one", "words": ["\x00", "\ud800", "ў"]})
    view = queue.view(job_id)
    assert view is not None
    assert (view.state, view.queued, view.done, view.finished_s) == ("running", 1, 1, None)
    assert queue.complete(claim(queue), {"text": "two"})
    view = queue.view(job_id)
    assert view is not None
    assert (view.state, view.done, view.finished_s) == ("done", 2, clock.now_s)
    assert [found.result for found in queue.results(job_id)] == [
        {"text": "one", "words": ["\x00", "\ud800", "ў"]},
        {"text": "two"},
    ]
    assert queue.claim("w", ["files"], lease_s=1) is None


def test_a_lost_lease_writes_nothing(queue: JobQueue, clock: Clock) -> None:
    job_id = create(queue)
    slow = claim(queue, worker="slow", lease_s=10)
    assert queue.claim("other", ["files"], lease_s=10) is None
    clock.now_s += 10.5
    fast = claim(queue, worker="fast", lease_s=10)
    assert (fast.position, fast.attempt) == (slow.position, 2)
    assert fast.lease != slow.lease
    assert not queue.extend(slow, 10)
    assert not queue.fail(slow, {"code": "x"}, retry_in_s=None)
    assert not queue.complete(slow, {"by": "slow"})
    assert queue.complete(fast, {"by": "fast"})
    assert not queue.complete(fast, {"by": "fast again"})
    assert not queue.complete(slow, {"by": "slow again"})
    assert [(found.state, found.result) for found in queue.results(job_id)] == [("done", {"by": "fast"})]


def test_an_extended_lease_holds(queue: JobQueue, clock: Clock) -> None:
    create(queue)
    held = claim(queue, lease_s=10)
    for _ in range(5):
        clock.now_s += 8
        assert queue.extend(held, 10)
        assert queue.claim("other", ["files"], lease_s=10) is None
    assert queue.complete(held, {})


def test_a_failure_is_tried_again_later_and_then_is_final(queue: JobQueue, clock: Clock) -> None:
    job_id = create(queue)
    for attempt in (1, 2):
        assert queue.fail(claim(queue), {"code": f"e{attempt}"}, retry_in_s=30)
        assert queue.claim("w", ["files"], lease_s=10) is None
        view = queue.view(job_id)
        assert view is not None
        assert view.state == "queued"
        clock.now_s += 30
    last = claim(queue)
    assert last.attempt == 3
    assert queue.fail(last, {"code": "e3"}, retry_in_s=30)
    view = queue.view(job_id)
    assert view is not None
    assert (view.state, view.failed, view.finished_s) == ("failed", 1, clock.now_s)
    [result] = queue.results(job_id)
    assert (result.state, result.error, result.attempts) == ("failed", {"code": "e3"}, 3)


def test_a_failure_without_retry_is_final_at_once(queue: JobQueue) -> None:
    job_id = create(queue, 2)
    assert queue.fail(claim(queue), {"code": "bad_audio"}, retry_in_s=None)
    assert queue.complete(claim(queue), {})
    view = queue.view(job_id)
    assert view is not None
    assert (view.state, view.done, view.failed) == ("done", 1, 1)  # some of it is there


def test_an_item_that_kills_its_workers_fails_after_its_attempts(queue: JobQueue, clock: Clock) -> None:
    job_id = create(queue, 2)
    for _ in range(3):
        assert claim(queue).position == 0
        clock.now_s += 11
    other = claim(queue)  # the poison is put away, the next item goes on
    assert other.position == 1
    assert queue.complete(other, {})
    poison = queue.results(job_id)[0]
    assert (poison.state, poison.attempts) == ("failed", 3)
    assert poison.error is not None
    assert poison.error["code"] == "worker_lost"


def test_a_small_owner_does_not_wait_for_a_big_one(queue: JobQueue, clock: Clock) -> None:
    create(queue, 1000, owner="big")
    for _ in range(40):
        queue.complete(claim(queue), {})
    for owner, items in (("small", 3), ("other", 2)):
        clock.now_s += 1
        create(queue, items, owner=owner)
    order = []
    for _ in range(10):
        taken = claim(queue)
        order.append(taken.owner)
        queue.complete(taken, {})
    assert order == ["big", "small", "other", "big", "small", "other", "big", "small", "big", "big"]


def test_an_owner_gains_nothing_by_many_jobs(queue: JobQueue, clock: Clock) -> None:
    for _ in range(6):
        create(queue, owner="splits")
    clock.now_s += 1
    create(queue, 6, owner="whole")
    assert [claim(queue).owner for _ in range(12)] == ["splits", "whole"] * 6


def test_what_comes_back_from_a_dead_worker_goes_first_and_lets_no_newcomer_overtake(
    queue: JobQueue, clock: Clock
) -> None:
    create(queue, 100, owner="big")
    lost = claim(queue, lease_s=5)
    for _ in range(50):
        queue.complete(claim(queue, lease_s=5), {})
    clock.now_s += 6  # number 0 is due again, the round stands at 51
    create(queue, 20, owner="new")
    again = claim(queue)
    assert (again.owner, again.position, again.attempt) == ("big", lost.position, 2)
    assert [claim(queue).owner for _ in range(6)] == ["big", "new"] * 3


def test_an_owners_items_go_in_the_order_they_came(queue: JobQueue, clock: Clock) -> None:
    first = create(queue, 2)
    clock.now_s += 1
    second = create(queue, 2)
    taken = [claim(queue) for _ in range(4)]
    assert [(item.job_id, item.position) for item in taken] == [(first, 0), (first, 1), (second, 0), (second, 1)]


def test_kinds_are_taken_in_the_order_asked(queue: JobQueue) -> None:
    create(queue, kind="train")
    create(queue, kind="files")
    assert queue.claim("w", ["other"], lease_s=1) is None
    kinds = [queue.claim("w", ["files", "train"], lease_s=10) for _ in range(3)]
    assert [found.kind if found else None for found in kinds] == ["files", "train", None]


def test_the_same_key_is_the_same_job(queue: JobQueue) -> None:
    first = create(queue, 2, idempotency_key="k")
    assert create(queue, 2, idempotency_key="k") == first
    assert create(queue, 2, idempotency_key="k", owner="bob") != first
    assert create(queue, 2) != create(queue, 2)
    view = queue.view(first)
    assert view is not None
    assert view.items == 2


def test_the_same_key_at_the_same_moment_is_one_job(queue: JobQueue, database: Database) -> None:
    together = threading.Barrier(6)
    found: list[str] = []

    def ask() -> None:
        together.wait()
        found.append(create(queue, 3, idempotency_key="k"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar() == 1
        assert connection.execute(select(func.count()).select_from(job_items)).scalar() == 3


def test_a_cancelled_job_gives_out_nothing_and_takes_nothing(queue: JobQueue, clock: Clock) -> None:
    job_id = create(queue, 3)
    assert queue.complete(claim(queue), {"text": "kept"})
    running = claim(queue)
    assert queue.cancel(job_id)
    assert not queue.cancel(job_id)
    assert not queue.extend(running, 10)
    assert not queue.complete(running, {"text": "late"})
    assert queue.claim("w", ["files"], lease_s=1) is None
    view = queue.view(job_id)
    assert view is not None
    assert (view.state, view.done, view.cancelled, view.finished_s) == ("cancelled", 1, 2, clock.now_s)
    assert [found.result for found in queue.results(job_id)] == [{"text": "kept"}, None, None]
    assert not queue.cancel("no such job")


def test_a_job_is_shown_to_its_owner(queue: JobQueue) -> None:
    job_id = create(queue)
    view = queue.view(job_id, "ann")
    assert view is not None
    assert view.owner == "ann"
    assert "payload" not in view.summary()
    assert queue.view(job_id, "bob") is None
    assert queue.view("no such job") is None


def test_results_come_in_pages(queue: JobQueue) -> None:
    job_id = create(queue, 5)
    assert [found.position for found in queue.results(job_id, 0, 2)] == [0, 1]
    assert [found.position for found in queue.results(job_id, 4, 2)] == [4]
    assert queue.results("no such job") == []
    for offset, limit in ((-1, 10), (0, 0), (0, 1001)):
        with pytest.raises(InputError, match="1 to 1000"):
            queue.results(job_id, offset, limit)


def test_the_webhook_is_told_once_and_in_the_same_transaction(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    deliveries = DeliveryQueue(database, clock)
    job_id = create(queue, 2, webhook="https://example.org/hook")
    assert queue.complete(claim(queue), {"text": "x"})
    assert deliveries.depth() == 0
    last = claim(queue)
    assert queue.complete(last, {"text": "y"})
    assert not queue.complete(last, {"text": "y"})
    message = deliveries.claim(lease_s=10)
    assert message is not None
    assert (message.job_id, message.url) == (job_id, "https://example.org/hook")
    body = json.loads(message.body)
    assert body["event"] == "job.done"
    assert (body["job"]["id"], body["job"]["state"], body["job"]["done"]) == (job_id, "done", 2)
    assert deliveries.claim(lease_s=10) is None


def test_the_webhook_is_told_of_a_cancelled_job(queue: JobQueue, database: Database, clock: Clock) -> None:
    job_id = create(queue, 2, webhook="https://example.org/hook")
    assert queue.cancel(job_id)
    message = DeliveryQueue(database, clock).claim(lease_s=10)
    assert message is not None
    assert json.loads(message.body)["event"] == "job.cancelled"


def test_the_depth_counts_what_waits_and_what_runs(queue: JobQueue, clock: Clock) -> None:
    assert (queue.depth().queued, queue.depth().running, queue.depth().oldest_s) == (0, 0, None)
    began = clock.now_s
    create(queue, 3)
    clock.now_s += 60
    create(queue, 1, owner="bob")
    queue.complete(claim(queue), {})
    claim(queue)
    depth = queue.depth()
    assert (depth.queued, depth.running, depth.oldest_s) == (2, 1, began)


def test_old_jobs_are_forgotten_and_open_ones_kept(queue: JobQueue, database: Database, clock: Clock) -> None:
    old = [create(queue, webhook="https://example.org/hook") for _ in range(3)]
    for _ in old:
        queue.complete(claim(queue), {})
    clock.now_s += 1000
    young = create(queue)
    queue.complete(claim(queue), {})
    still_open = create(queue)
    assert queue.delete_older(500) == 3
    assert [queue.view(job_id) is None for job_id in (*old, young, still_open)] == [True] * 3 + [False] * 2
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(job_items)).scalar() == 2
    assert DeliveryQueue(database, clock).depth() == 0


@pytest.mark.parametrize(
    ("kind", "payload", "items", "more"),
    [
        ("files", {}, [], {}),
        ("", {}, [{}], {}),
        ("k" * 101, {}, [{}], {}),
        ("files", {"x": float("nan")}, [{}], {}),
        ("files", {}, [{"x": object()}], {}),
        ("files", {}, [{}], {"owner": "a\x00b"}),
        ("files", {}, [{}], {"idempotency_key": "k" * 201}),
        ("files", {}, [{}], {"idempotency_key": "\ud800"}),
        ("files", {}, [{}], {"webhook": "https://example.org/" + "x" * 2000}),
    ],
)
def test_what_cannot_be_stored_is_refused(
    queue: JobQueue, kind: str, payload: dict[str, Any], items: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        queue.create(kind, payload, items, **{"owner": "ann", **more})
    assert queue.depth().queued == 0


def test_a_result_that_json_has_no_form_for_is_refused_and_the_claim_still_holds(queue: JobQueue) -> None:
    create(queue)
    held = claim(queue)
    with pytest.raises(InputError, match="result cannot be written as JSON"):
        queue.complete(held, {"confidence": float("nan")})
    assert queue.complete(held, {"confidence": None})


def test_threads_share_a_queue_without_taking_an_item_twice(database: Database) -> None:
    queue = JobQueue(database)
    job_id = create(queue, 60)
    taken: list[int] = []

    def work(number: int) -> None:
        while (found := queue.claim(f"w{number}", ["files"], lease_s=60)) is not None:
            taken.append(found.position)
            assert queue.complete(found, {"by": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(60))
    view = queue.view(job_id)
    assert view is not None
    assert (view.state, view.done) == ("done", 60)


def test_cancelling_and_completing_at_once_never_wait_for_each_other(database: Database) -> None:
    queue = JobQueue(database)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while (found := queue.claim("w", ["files"], lease_s=60)) is not None:
                queue.complete(found, {})
        except BaseException as err:  # noqa: BLE001 - shown below
            failures.append(err)

    job_ids = [create(queue, 5, owner=f"o{number}", webhook="https://example.org/") for number in range(10)]
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    cancelled = [queue.cancel(job_id) for job_id in job_ids]
    for thread in threads:
        thread.join()
    assert failures == []
    for job_id, was_cancelled in zip(job_ids, cancelled, strict=True):
        view = queue.view(job_id)
        assert view is not None
        assert view.state == ("cancelled" if was_cancelled else "done")
        assert view.done + view.cancelled == 5
    assert DeliveryQueue(database).depth() == 10


def test_the_claim_of_a_row_without_lease_is_nobodys(queue: JobQueue, database: Database) -> None:
    create(queue)
    held = claim(queue)
    with database.write() as connection:
        connection.execute(update(job_items).values(lease=None))
    assert not queue.complete(held, {})


def test_attempts_below_one_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="max_attempts is 0"):
        JobQueue(database, max_attempts=0)


def test_an_item_given_back_counts_as_not_begun(database: Database, clock: Clock) -> None:
    queue = JobQueue(database, clock, max_attempts=1)
    job = queue.create("k", {}, [{"n": 1}], owner="ann")
    for _ in range(3):
        claim = queue.claim("w", ["k"], lease_s=60)
        assert claim is not None
        assert claim.attempt == 1
        assert queue.give_back(claim)
        assert not queue.give_back(claim)  # it is nobody's any more
        assert not queue.complete(claim, {})
        [item] = queue.results(job)
        assert (item.state, item.attempts, item.error) == ("queued", 0, None)


def test_an_item_held_up_comes_back_later_with_no_attempt_spent(database: Database, clock: Clock) -> None:
    queue = JobQueue(database, clock, max_attempts=1)
    job = queue.create("k", {}, [{"n": 1}], owner="ann")
    began_s = clock.now_s
    for number in range(5):
        claim = queue.claim("w", ["k"], lease_s=60)
        assert claim is not None
        assert (claim.attempt, claim.held_up_s) == (1, began_s if number else None)
        assert queue.hold_up(claim, {"code": "away"}, retry_in_s=30)
        assert not queue.hold_up(claim, {"code": "away"}, retry_in_s=30)  # it is nobody's any more
        assert queue.claim("w", ["k"], lease_s=60) is None
        view = queue.view(job)
        assert view is not None
        assert (view.queued, view.held_up) == (1, 1)
        [item] = queue.results(job)
        assert (item.state, item.attempts, item.error) == ("queued", 0, {"code": "away"})
        clock.now_s += 30
    last = queue.claim("w", ["k"], lease_s=60)
    assert last is not None
    assert queue.complete(last, {})
    view = queue.view(job)
    assert view is not None
    assert (view.state, view.held_up) == ("done", 0)


def test_an_attempt_spent_ends_being_held_up(database: Database, clock: Clock) -> None:
    queue = JobQueue(database, clock)
    queue.create("k", {}, [{"n": 1}], owner="ann")
    first = queue.claim("w", ["k"], lease_s=60)
    assert first is not None
    queue.hold_up(first, {}, retry_in_s=0)
    second = queue.claim("w", ["k"], lease_s=60)
    assert second is not None
    assert second.held_up_s == clock.now_s
    queue.fail(second, {}, retry_in_s=0)
    third = queue.claim("w", ["k"], lease_s=60)
    assert third is not None
    assert (third.attempt, third.held_up_s) == (2, None)


def test_what_is_held_up_lets_no_newcomer_overtake(queue: JobQueue, clock: Clock) -> None:
    queue.create("k", {}, [{"n": n} for n in range(5)], owner="ann")
    held = queue.claim("w", ["k"], lease_s=60)
    assert held is not None
    for _ in range(3):
        claim = queue.claim("w", ["k"], lease_s=60)
        assert claim is not None
        queue.complete(claim, {})
    queue.hold_up(held, {}, retry_in_s=0)
    clock.now_s += 1
    queue.create("k", {}, [{"n": 9}], owner="bob")
    order = []
    while (claim := queue.claim("w", ["k"], lease_s=60)) is not None:
        order.append((claim.owner, claim.payload["n"]))
        queue.complete(claim, {})
    assert order == [("ann", 0), ("ann", 4), ("bob", 9)]
