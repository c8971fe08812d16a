"""A worker whose store, model or database is away: files wait, and spend no attempt on it."""

import asyncio
import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.serving.jobs.worker_bench import Bench, run, until
from tests.serving.route_server import RESULT

from harken.core import MissingPart
from harken.serving.contract import TranscribeOptions, Transcription
from harken.serving.jobs.work import KIND
from harken.serving.jobs.worker import _delay_s

OUTAGES = [
    MissingPart("The file store s3://inner/bucket cannot be used."),
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
