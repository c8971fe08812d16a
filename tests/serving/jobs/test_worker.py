"""A worker on the queue: results, failures, cancelled jobs, busy servers, quotas, orderly ends."""

import asyncio
import errno
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.serving.route_server import RESULT

from harken.core import MissingPart, RunFailed
from harken.http.auth import Principal
from harken.http.errors import NotAllowed
from harken.http.limits import Limiter, LimitSettings
from harken.serving.contract import Priority, TranscribeOptions, Transcription
from harken.serving.decoding.errors import DamagedAudio
from harken.serving.errors import QueueFull
from harken.serving.jobs.settings import JobSettings
from harken.serving.jobs.work import KIND, FileWork, item_payload, job_payload
from harken.serving.jobs.worker import JobWorker, _delay_s
from harken.serving.metrics import ServerMetrics
from harken.storage.audit import RequestRow
from harken.storage.blobs import BlobStore
from harken.storage.database import Database
from harken.storage.jobs import JobQueue

ANN = Principal(
    id="key:ann", name="ann", kind="key", scopes=frozenset(["batch"]), rate=None, audio_s_per_day=None, streams=None
)
OPTIONS = TranscribeOptions(language="en")


@dataclass
class Service:
    """Raises what is due for a content, once each; a file of `held` takes for ever."""

    failures: dict[bytes, list[Exception]] = field(default_factory=dict)
    held: set[bytes] = field(default_factory=set)
    breaks_late: dict[bytes, int] = field(default_factory=dict)  # so often, after the file was charged
    heard: list[bytes] = field(default_factory=list)
    cancelled: list[bytes] = field(default_factory=list)

    async def transcribe(
        self,
        audio: Path,
        options: TranscribeOptions,
        *,
        priority: Priority = Priority.REQUEST,
        admit: Callable[[float], Awaitable[None]] | None = None,
        owner: str = "",
    ) -> Transcription:
        assert (priority, options, owner) == (Priority.JOB, OPTIONS, "key:ann")
        content = audio.read_bytes()
        self.heard.append(content)
        if self.failures.get(content):
            raise self.failures[content].pop(0)
        if admit is not None:
            await admit(RESULT.transcript.duration_s)
        if self.breaks_late.get(content, 0) > 0:
            self.breaks_late[content] -= 1
            raise RunFailed("The engine broke.")
        try:
            await asyncio.sleep(3600 if content in self.held else 0)
        except asyncio.CancelledError:
            self.cancelled.append(content)
            raise
        return RESULT


@dataclass
class Bench:
    folder: Path
    queue: JobQueue
    blobs: BlobStore
    service: Service = field(default_factory=Service)
    limiter: Limiter = field(default_factory=lambda: Limiter(LimitSettings(rate=None)))
    rows: list[RequestRow] = field(default_factory=list)
    metrics: ServerMetrics = field(default_factory=ServerMetrics)

    def job(self, *contents: bytes, audio_s_per_day: int | None = None) -> str:
        keys = []
        for content in contents:
            (self.folder / "upload").write_bytes(content)
            keys.append(self.blobs.put_file(self.folder / "upload"))
        payload = job_payload(OPTIONS, word_times=False, principal=replace(ANN, audio_s_per_day=audio_s_per_day))
        items = [item_payload(key, f"{number}.wav") for number, key in enumerate(keys)]
        return self.queue.create(KIND, payload, items, owner=ANN.id)

    def worker(self, **settings: Any) -> JobWorker:
        async def audit(row: RequestRow) -> None:
            self.rows.append(row)

        async def charge(work: FileWork, audio_s: float) -> None:
            await self.limiter.charge_audio(work.principal, audio_s)

        made = JobSettings(**{"poll_s": 0.02, "lease_s": 30, **settings})
        (self.folder / "spool").mkdir(exist_ok=True)
        return JobWorker(
            queue=self.queue, blobs=self.blobs, service=self.service, spool=self.folder / "spool", settings=made,
            charge=charge, audit=audit, metrics=self.metrics,
        )  # fmt: skip

    def states(self, job: str) -> list[tuple[str, str | None]]:
        """State and code of the error of each file."""
        return [(item.state, None if item.error is None else item.error["code"]) for item in self.queue.results(job)]

    def left_over(self) -> list[Path]:
        return list((self.folder / "spool").iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = Database.open(f"sqlite:///{tmp_path}/jobs.db")
    yield Bench(tmp_path, JobQueue(database), BlobStore.open((tmp_path / "store").as_uri()))
    database.close()


async def until(condition: Callable[[], Any], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def run(worker: JobWorker, during: Callable[[], Awaitable[None]]) -> None:
    """The worker at work until `during` is over; then it drains."""

    async def both() -> None:
        working = asyncio.ensure_future(worker.run())
        await during()
        worker.drain()
        await asyncio.wait_for(working, 10)

    asyncio.run(both())


def test_files_are_transcribed_audited_and_charged(bench: Bench) -> None:
    job = bench.job(b"a", b"b")
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).done == 2))  # type: ignore[union-attr]
    found = bench.queue.results(job)
    assert [item.result["text"] for item in found if item.result] == ["one two drei"] * 2
    assert [item.result["request_id"] for item in found if item.result] == [f"{job}-0", f"{job}-1"]
    assert [(row.request_id, row.principal, row.status, row.audio_s, row.text) for row in bench.rows] == [
        (f"{job}-{n}", "key:ann", 200, 2.25, "one two drei") for n in range(2)
    ]
    assert bench.left_over() == []


def test_a_bad_file_fails_at_once_and_the_others_are_done(bench: Bench) -> None:
    bench.service.failures = {b"bad": [DamagedAudio("The audio is damaged.", hint="Send another.")]}
    job = bench.job(b"bad", b"good")
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    assert bench.states(job) == [("failed", "damaged_audio"), ("done", None)]
    assert (bench.rows[0].status, bench.rows[0].details) == (400, {"job": job, "error": "damaged_audio"})
    assert bench.service.heard == [b"bad", b"good"]


def test_a_day_that_is_used_up_fails_the_file_before_it_is_heard(bench: Bench) -> None:
    job = bench.job(b"a", b"b", b"c", audio_s_per_day=5)
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    assert bench.states(job) == [("done", None), ("done", None), ("failed", "rate_exceeded")]


@pytest.mark.parametrize("error", [RunFailed("cannot read /srv/secret"), OSError("odd"), ZeroDivisionError()])
def test_a_failure_of_ours_is_tried_again(bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.serving.jobs.worker.RETRY_S", 0.01)
    bench.service.failures = {b"a": [error] * 3, b"b": [error]}
    job = bench.job(b"a", b"b", audio_s_per_day=5)
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    assert [state for state, _ in bench.states(job)] == ["failed", "done"]
    assert [item.attempts for item in bench.queue.results(job)] == [3, 2]
    told = bench.queue.results(job)[0].error
    assert told is not None
    assert "secret" not in str(told)


def test_a_busy_server_is_waited_for(bench: Bench) -> None:
    bench.service.failures = {b"a": [QueueFull("Full.", retry_after_s=0.01)] * 5}
    job = bench.job(b"a")
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).done))  # type: ignore[union-attr]
    assert [item.attempts for item in bench.queue.results(job)] == [1]


def test_a_busy_server_that_drains_leaves_the_file_to_another(bench: Bench) -> None:
    bench.service.failures = {b"a": [QueueFull("Full.", retry_after_s=0.05)] * 100}
    job = bench.job(b"a")
    run(bench.worker(), lambda: until(lambda: bench.service.heard))
    assert [(item.state, item.attempts) for item in bench.queue.results(job)] == [("queued", 0)]


def test_a_cancelled_job_stops_its_file_soon(bench: Bench) -> None:
    bench.service.held = {b"long"}
    job, next_job = bench.job(b"long"), bench.job(b"a")

    async def during() -> None:
        await until(lambda: bench.service.heard)
        bench.queue.cancel(job)
        await until(lambda: bench.service.cancelled == [b"long"], within_s=2)
        await until(lambda: bench.queue.view(next_job).done)  # type: ignore[union-attr]

    run(bench.worker(lease_s=3000), during)
    assert bench.states(job) == [("cancelled", None)]
    assert bench.left_over() == []


def test_a_lease_is_kept_as_long_as_the_work_takes(bench: Bench) -> None:
    bench.service.held = {b"long"}
    bench.job(b"long")

    async def during() -> None:
        await until(lambda: bench.service.heard)
        for _ in range(10):
            await asyncio.sleep(0.1)
            assert bench.queue.claim("thief", [KIND], lease_s=1) is None
        bench.queue.cancel(bench.queue.create("x", {}, [{}], owner="x"))
        working.cancel()

    async def both() -> None:
        nonlocal working
        working = asyncio.ensure_future(bench.worker(lease_s=0.5, poll_s=5).run())
        await during()
        with pytest.raises(asyncio.CancelledError):
            await working

    working: Any = None
    asyncio.run(both())


def test_who_is_stopped_gives_its_file_back_as_if_not_begun(bench: Bench) -> None:
    bench.service.held = {b"long"}
    job = bench.job(b"long")

    async def both() -> None:
        for _ in range(5):  # more often than a file may be begun
            working = asyncio.ensure_future(bench.worker().run())
            bench.service.heard.clear()
            await until(lambda: bench.service.heard)
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working

    asyncio.run(both())
    assert [(item.state, item.attempts) for item in bench.queue.results(job)] == [("queued", 0)]
    assert bench.left_over() == []


def test_who_drains_finishes_its_file_and_takes_no_other(bench: Bench) -> None:
    job = bench.job(*[b"%d" % n for n in range(20)])
    worker = bench.worker()

    async def both() -> None:
        working = asyncio.ensure_future(worker.run())
        await until(lambda: len(bench.service.heard) >= 2)
        worker.drain()
        await asyncio.wait_for(working, 10)

    asyncio.run(both())
    view = bench.queue.view(job)
    assert view is not None
    assert view.running == 0
    assert view.done == len(bench.service.heard) < 20


def test_a_database_that_is_down_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench.job(b"a")
    claims, failures = bench.queue.claim, [MissingPart("down"), ZeroDivisionError(), MissingPart("down")]

    def claim(*args: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return claims(*args, **more)

    monkeypatch.setattr(bench.queue, "claim", claim)
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).done))  # type: ignore[union-attr]
    assert failures == []


def test_a_file_whose_audio_is_gone_fails(bench: Bench) -> None:
    job = bench.job(b"a")
    for path in (bench.folder / "store").rglob("*"):
        if path.is_file():
            path.unlink()
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    assert bench.states(job) == [("failed", "input_error")]


def test_another_attempt_is_not_charged_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.serving.jobs.worker.RETRY_S", 0.01)
    bench.service.breaks_late = {b"a": 2}
    job = bench.job(b"a", audio_s_per_day=3)
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    assert [(item.state, item.attempts) for item in bench.queue.results(job)] == [("done", 3)]


OUTAGES = [
    MissingPart("The file store s3://inner/bucket cannot be used."),
    NotAllowed("no"),
    MemoryError(),
    OSError(errno.ENOSPC, "No space left on device"),
]


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
def test_an_outage_spends_no_attempt_however_often_it_is_met(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harken.serving.jobs.worker.FIRST_DELAY_S", 0.005)
    monkeypatch.setattr("harken.serving.jobs.worker.LONGEST_DELAY_S", 0.01)
    bench.service.failures = {b"a": [error] * 10}
    job = bench.job(b"a")
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).done))  # type: ignore[union-attr]
    assert [item.attempts for item in bench.queue.results(job)] == [1]
    assert len(bench.service.heard) == 11
    assert bench.metrics.registry.get_sample_value("asr_job_hold_ups_total") == 10
    assert [row.status for row in bench.rows] == [200]  # what waits has not ended
    view = bench.queue.view(job)
    assert view is not None
    assert view.held_up == 0


def test_a_file_that_waits_says_so_without_a_word_of_what_is_away(bench: Bench) -> None:
    bench.service.failures = {b"a": [OUTAGES[0]]}
    job = bench.job(b"a")
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).held_up))  # type: ignore[union-attr]
    view = bench.queue.view(job)
    assert view is not None
    assert (view.queued, view.held_up, view.summary()["held_up"]) == (1, 1, 1)
    [item] = bench.queue.results(job)
    assert (item.state, item.attempts) == ("queued", 0)
    assert item.error is not None
    assert item.error["code"] == "missing_part"
    assert "inner" not in str(item.error)
    assert bench.queue.claim("next", [KIND], lease_s=1) is None  # not yet


def test_delays_double_up_to_a_bound_and_are_spread() -> None:
    def between(waited_s: float) -> tuple[float, float]:
        found = [_delay_s(waited_s, 300) for _ in range(500)]
        return min(found), max(found)

    for waited_s, about_s in ((0, 2), (1, 2), (2, 2), (40, 40), (1000, 300), (1e6, 300)):
        least, most = between(waited_s)
        assert 0.74 * about_s < least < 0.85 * about_s
        assert 1.15 * about_s < most < 1.26 * about_s


def test_an_outage_that_lasts_too_long_is_a_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_S", "FIRST_DELAY_S"):
        monkeypatch.setattr(f"harken.serving.jobs.worker.{name}", 0.01)
    bench.service.failures = {b"a": [OUTAGES[0]] * 1000}
    job = bench.job(b"a")
    began_s = time.monotonic()
    run(bench.worker(outage_s=0.3), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    assert time.monotonic() - began_s > 0.3
    assert bench.states(job) == [("failed", "missing_part")]
    assert [item.attempts for item in bench.queue.results(job)] == [3]
    assert [row.status for row in bench.rows] == [500] * 3


def test_a_file_that_waited_after_it_was_paid_is_not_paid_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.serving.jobs.worker.FIRST_DELAY_S", 0.01)

    async def transcribe(path: Path, options: TranscribeOptions, *, admit: Any = None, **_: Any) -> Transcription:
        admissions.append(admit is not None)
        if admit is not None:
            await admit(2.0)
        if len(admissions) < 3:
            raise MissingPart("no model")
        return RESULT

    admissions: list[bool] = []
    monkeypatch.setattr(bench.service, "transcribe", transcribe)
    job = bench.job(b"a", audio_s_per_day=3)
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    assert bench.states(job)[0][0] == "done"
    assert len(admissions) == 3  # a second charge would not have fitted into the day


def test_a_store_that_is_away_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.serving.jobs.worker.FIRST_DELAY_S", 0.01)
    job = bench.job(b"a")
    fetches, failures = bench.blobs.get_to, [MissingPart("away")] * 5

    def get_to(key: str, path: Path) -> None:
        if failures:
            raise failures.pop()
        fetches(key, path)

    monkeypatch.setattr(bench.blobs, "get_to", get_to)
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).done))  # type: ignore[union-attr]
    assert [item.attempts for item in bench.queue.results(job)] == [1]


def test_a_result_that_the_database_does_not_take_is_kept_until_it_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harken.serving.jobs.worker.FIRST_DELAY_S", 0.02)
    job = bench.job(b"a")
    completes, failures = bench.queue.complete, [MissingPart("down")] * 5

    def complete(*args: Any) -> bool:
        if failures:
            raise failures.pop()
        return completes(*args)

    monkeypatch.setattr(bench.queue, "complete", complete)
    run(bench.worker(lease_s=0.05), lambda: until(lambda: bench.queue.view(job).done))  # type: ignore[union-attr]
    assert [item.attempts for item in bench.queue.results(job)] == [1]
    assert bench.service.heard == [b"a"]


def test_who_is_stopped_while_the_database_hangs_does_not_wait_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harken.serving.jobs.worker.GIVE_BACK_S", 0.2)
    answers = threading.Event()
    bench.service.held = {b"a"}
    bench.job(b"a")

    async def both() -> float:
        working = asyncio.ensure_future(bench.worker(poll_s=60).run())
        await until(lambda: bench.service.heard)
        monkeypatch.setattr(bench.queue, "give_back", lambda *_, **__: answers.wait(10))
        working.cancel()
        began_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await working
        return time.monotonic() - began_s

    try:
        assert asyncio.run(both()) < 1
    finally:
        answers.set()


def test_audio_that_is_gone_is_told_without_the_store(bench: Bench) -> None:
    job = bench.job(b"a")
    bench.blobs.delete(bench.queue.results(job)[0].payload["blob"])
    run(bench.worker(), lambda: until(lambda: bench.queue.view(job).finished_s))  # type: ignore[union-attr]
    [item] = bench.queue.results(job)
    assert item.error is not None
    assert item.error["message"] == "The audio of this file is not kept any more."
    assert str(bench.folder) not in str(item.error)
