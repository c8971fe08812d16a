"""Webhooks: signed, tried again, given up, never sent where they may not go."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from harken.core import HarkenError, RunFailed
from harken.http.outbound import NotDelivered, Outbound, OutboundSettings
from harken.serving.jobs.webhooks import MOST_ATTEMPTS, WebhookSender, next_retry_s, signature
from harken.storage.database import Database
from harken.storage.deliveries import Delivery, DeliveryQueue
from harken.storage.jobs import JobQueue

SECRET = "s" * 32
NOW_S = 1_700_000_000.0


class Recorder(Outbound):
    """Keeps what is posted; `failures` are raised first, one for each post."""

    def __init__(self, *failures: HarkenError) -> None:
        async def resolve(host: str, port: int) -> Sequence[str]:
            return ["93.184.216.34"] if host == "hooks.test" else ["10.0.0.7"]

        super().__init__(OutboundSettings(), resolve=resolve)
        self.failures, self.sent = list(failures), []  # type: ignore[var-annotated]

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        await self.check(url)
        self.sent.append((url, body, dict(headers)))
        if self.failures:
            raise self.failures.pop(0)
        return 200


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/jobs.db")
    yield opened
    opened.close()


def finished_job(database: Database, webhook: str) -> str:
    """A job of one file that has ended, so that a message waits."""
    queue = JobQueue(database, clock=lambda: NOW_S)
    job = queue.create("transcribe", {}, [{"blob": "b"}], owner="me", webhook=webhook)
    claim = queue.claim("w", ["transcribe"], lease_s=60)
    assert claim is not None
    assert queue.complete(claim, {"text": "one"})
    return job


def test_a_finished_job_is_told_once_and_signed(database: Database) -> None:
    job = finished_job(database, "https://hooks.test/done")
    outbound = Recorder()
    sender = WebhookSender(DeliveryQueue(database, clock=lambda: NOW_S), outbound, SECRET, clock=lambda: NOW_S)
    assert asyncio.run(sender.send_next()) is True
    assert asyncio.run(sender.send_next()) is False
    [(url, body, headers)] = outbound.sent
    assert url == "https://hooks.test/done"
    told = json.loads(body)
    assert job in json.dumps(told)
    expected = hmac.new(SECRET.encode(), f"{int(NOW_S)}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Harken-Signature"] == f"t={int(NOW_S)},v1={expected}"
    assert headers["X-Harken-Delivery"] == DeliveryQueue(database).of_job(job)[0].id
    assert DeliveryQueue(database).of_job(job)[0].state == "sent"


def test_what_did_not_arrive_is_sent_again_later(database: Database) -> None:
    job = finished_job(database, "https://hooks.test/done")
    clock = [NOW_S]
    outbound = Recorder(NotDelivered("https://hooks.test answered 500."))
    sender = WebhookSender(DeliveryQueue(database, clock=lambda: clock[0]), outbound, SECRET, clock=lambda: clock[0])
    assert asyncio.run(sender.send_next()) is True
    assert asyncio.run(sender.send_next()) is False  # not before its time
    [view] = DeliveryQueue(database).of_job(job)
    assert (view.state, view.attempts, view.next_try_s) == ("waiting", 1, NOW_S + 10)
    assert view.error is not None
    assert "answered 500" in view.error
    clock[0] = NOW_S + 10
    assert asyncio.run(sender.send_next()) is True
    assert DeliveryQueue(database).of_job(job)[0].state == "sent"
    assert outbound.sent[0][1] == outbound.sent[1][1]


def test_a_private_address_is_given_up_at_once(database: Database) -> None:
    job = finished_job(database, "https://inside.test/")
    outbound = Recorder()
    assert asyncio.run(WebhookSender(DeliveryQueue(database), outbound, SECRET).send_next()) is True
    [view] = DeliveryQueue(database).of_job(job)
    assert view.state == "failed"
    assert view.error is not None
    assert "not on the public internet" in view.error
    assert outbound.sent == []


@pytest.mark.parametrize(
    ("attempt", "wait_s"), [(1, 10), (2, 20), (5, 160), (10, 3600), (29, 3600), (MOST_ATTEMPTS, None)]
)
def test_waits_double_up_to_an_hour(attempt: int, wait_s: float | None) -> None:
    delivery = Delivery(id="d", job_id="j", url="u", body="{}", attempt=attempt, created_s=0, lease="l")
    assert next_retry_s(delivery) == wait_s


def test_a_signature_depends_on_time_body_and_secret() -> None:
    made = {
        signature(SECRET, b"{}", at_s=1),
        signature(SECRET, b"{}", at_s=2),
        signature(SECRET, b"[]", at_s=1),
        signature("t" * 32, b"{}", at_s=1),
    }
    assert len({text.partition("v1=")[2] for text in made}) == 4


def test_an_outage_is_logged_once(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    looks = 0

    class Away(WebhookSender):
        async def send_next(self) -> bool:
            nonlocal looks
            looks += 1
            if 20 <= looks < 30:
                return False
            raise RunFailed("The database is away.")

    async def main() -> None:
        sender = Away(DeliveryQueue(database), Recorder(), SECRET, poll_s=0.001)
        running = asyncio.ensure_future(sender.run())
        while looks < 60:
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    told = [record.getMessage() for record in caplog.records]
    assert told == ["webhooks wait: The database is away."] * 2
