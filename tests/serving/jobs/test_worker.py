"""A worker on the queue: results, failures, cancelled jobs, busy servers, quotas, orderly ends."""

import asyncio
from typing import Any

import pytest
from tests.serving.jobs.worker_bench import Bench, run, until

from harken.core import MissingPart, RunFailed
from harken.serving.decoding.errors import DamagedAudio
from harken.serving.errors import QueueFull
from harken.serving.jobs.work import KIND


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
