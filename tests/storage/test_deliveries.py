"""The outbox: at least once, with the same body, until it arrived or was given up."""

import pytest
from tests.storage.conftest import Clock

from harken.core import InputError
from harken.storage.database import Database
from harken.storage.deliveries import Delivery, DeliveryQueue
from harken.storage.jobs import JobQueue


@pytest.fixture
def job_id(database: Database, clock: Clock) -> str:
    return JobQueue(database, clock).create("files", {}, [{}], owner="ann")


@pytest.fixture
def outbox(database: Database, clock: Clock) -> DeliveryQueue:
    return DeliveryQueue(database, clock)


def claim(outbox: DeliveryQueue) -> Delivery:
    found = outbox.claim(lease_s=10)
    assert found is not None
    return found


def test_a_message_that_arrives_is_sent_once(outbox: DeliveryQueue, job_id: str, clock: Clock) -> None:
    delivery_id = outbox.add(job_id, "https://example.org/", '{"a": 1}')
    found = claim(outbox)
    assert (found.id, found.job_id, found.url, found.body) == (
        delivery_id,
        job_id,
        "https://example.org/",
        '{"a": 1}',
    )
    assert (found.attempt, found.created_s) == (1, clock.now_s)
    assert outbox.done(found)
    assert not outbox.done(found)
    clock.now_s += 1000
    assert outbox.claim(lease_s=10) is None
    assert [(view.state, view.attempts) for view in outbox.of_job(job_id)] == [("sent", 1)]


def test_a_message_comes_back_after_a_failure_and_after_a_dead_sender(
    outbox: DeliveryQueue, job_id: str, clock: Clock
) -> None:
    outbox.add(job_id, "https://example.org/", "body")
    first = claim(outbox)
    assert outbox.failed(first, "503\x00" + "x" * 2000, retry_in_s=60)
    assert outbox.claim(lease_s=10) is None
    [view] = outbox.of_job(job_id)
    assert (view.state, view.next_try_s) == ("waiting", clock.now_s + 60)
    assert view.error is not None
    assert view.error.startswith("503\N{REPLACEMENT CHARACTER}xxx")
    assert len(view.error) == 1000
    clock.now_s += 60
    second = claim(outbox)
    assert (second.attempt, second.body) == (2, "body")
    clock.now_s += 10  # its sender died
    third = claim(outbox)
    assert third.attempt == 3
    assert not outbox.done(second)
    assert not outbox.failed(second, "late", retry_in_s=None)
    assert outbox.failed(third, "gone", retry_in_s=None)
    assert outbox.depth() == 0
    assert [(view.state, view.error) for view in outbox.of_job(job_id)] == [("failed", "gone")]


def test_the_longest_waiting_goes_first(outbox: DeliveryQueue, job_id: str, clock: Clock) -> None:
    for name in "abc":
        outbox.add(job_id, "https://example.org/", name)
        clock.now_s += 1
    assert outbox.depth() == 3
    assert [claim(outbox).body for _ in range(3)] == ["a", "b", "c"]


def test_settled_messages_are_forgotten(outbox: DeliveryQueue, job_id: str, clock: Clock) -> None:
    outbox.add(job_id, "https://example.org/", "a")
    outbox.done(claim(outbox))
    outbox.add(job_id, "https://example.org/", "b")
    clock.now_s += 100
    assert outbox.delete_older(200) == 0
    assert outbox.delete_older(50) == 1
    assert [view.state for view in outbox.of_job(job_id)] == ["waiting"]


def test_a_message_of_no_job_is_refused(outbox: DeliveryQueue) -> None:
    with pytest.raises(InputError, match="no job 'x'"):
        outbox.add("x", "https://example.org/", "a")
