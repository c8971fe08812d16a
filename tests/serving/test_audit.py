"""The audit: every request a row, beside the work."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import harken.serving.audit as audit_module
from harken.core import MissingPart
from harken.serving.audit import BATCH, AuditWriter
from harken.storage.audit import AuditLog, RequestRow
from harken.storage.calls import Calls
from harken.storage.database import Database


class MemoryLog:
    """Keeps batches; raises `failures` first, one for each batch; while `held` is not set, it takes its time."""

    def __init__(self, *failures: Exception) -> None:
        self.batches: list[list[RequestRow]] = []
        self.failures = list(failures)
        self.held: Event | None = None
        self.calls = Calls("the log", threads=1, waiting=1)

    def add(self, rows: Sequence[RequestRow]) -> None:
        if self.held is not None:
            assert self.held.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(list(rows))

    @property
    def ids(self) -> list[str]:
        return [row.request_id for batch in self.batches for row in batch]


def row(number: int, **changed: Any) -> RequestRow:
    values: dict[str, Any] = {
        "request_id": str(number), "principal": "ann", "route": "/transcribe", "status": 200, "model": "tiny",
        "audio_s": 1.5, "duration_s": 0.1, "text": "one", "details": {"job": "j"},
    }  # fmt: skip
    return RequestRow(**{**values, **changed})


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(audit_module, "RETRY_S", 0.02)


def written(log: MemoryLog | AuditLog, work: Callable[[AuditWriter], Any], *, with_text: bool = False) -> int:
    """How many rows are lost by a writer that runs while `work` does."""
    lost: list[int] = []

    async def run() -> int:
        writer = AuditWriter(log, with_text=with_text, lost=lost.append)  # type: ignore[arg-type]
        running = asyncio.ensure_future(writer.run())
        await asyncio.sleep(0)
        await work(writer)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return sum(lost)

    return asyncio.run(run())


def test_rows_of_a_busy_moment_are_written_together() -> None:
    log = MemoryLog()

    async def work(writer: AuditWriter) -> None:
        for number in range(BATCH + 7):
            await writer.add(row(number))
        await until(lambda: len(log.ids) == BATCH + 7)

    written(log, work)
    assert [len(batch) for batch in log.batches] == [BATCH, 7]
    assert log.ids == [str(number) for number in range(BATCH + 7)]


def test_what_is_left_is_written_at_the_end() -> None:
    log = MemoryLog()

    async def work(writer: AuditWriter) -> None:
        await writer.add(row(1))

    written(log, work)
    assert log.ids == ["1"]


def test_the_end_waits_for_a_batch_that_is_being_written() -> None:
    log = MemoryLog()
    log.held = Event()

    async def work(writer: AuditWriter) -> None:
        await writer.add(row(1))
        await asyncio.sleep(0.05)
        assert log.held is not None
        asyncio.get_running_loop().call_later(0.05, log.held.set)
        await writer.add(row(2))

    written(log, work)
    assert log.ids == ["1", "2"]


@pytest.mark.parametrize(("with_text", "text"), [(False, None), (True, "one")])
def test_text_is_kept_only_where_that_is_allowed(tmp_path: Path, with_text: bool, text: str | None) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/audit.db")

    async def work(writer: AuditWriter) -> None:
        await writer.add(row(1))

    written(AuditLog(database), work, with_text=with_text)
    [found] = AuditLog(database).recent(10)
    assert (found.request_id, found.principal, found.route, found.status) == ("1", "ann", "/transcribe", 200)
    assert (found.model, found.audio_s, found.duration_s, found.details) == ("tiny", 1.5, 0.1, {"job": "j"})
    assert found.text == text
    database.close()


def test_rows_wait_for_a_database_that_is_down_and_keep_their_order() -> None:
    log = MemoryLog(MissingPart("down"), MissingPart("down"))

    async def work(writer: AuditWriter) -> None:
        await writer.add(row(1))
        await until(lambda: len(log.failures) < 2)
        await writer.add(row(2))
        await until(lambda: len(log.ids) == 2)

    lost = written(log, work)
    assert log.ids == ["1", "2"]
    assert lost == 0


def test_a_row_no_database_takes_does_not_stop_the_others() -> None:
    log = MemoryLog(ZeroDivisionError())

    async def work(writer: AuditWriter) -> None:
        await writer.add(row(1))
        await until(lambda: not log.failures)
        await writer.add(row(2))
        await until(lambda: log.ids == ["2"])

    assert written(log, work) == 1


def test_the_oldest_are_lost_when_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "MOST_WAITING", 5)
    log = MemoryLog(*[MissingPart("down")] * 1000)

    async def work(writer: AuditWriter) -> None:
        for number in range(8):
            await writer.add(row(number))
        await until(lambda: len(log.failures) < 1000)
        log.held = Event()  # a batch is on its way while more come
        await asyncio.sleep(0.05)
        for number in range(8, 12):
            await writer.add(row(number))
        log.held.set()
        await asyncio.sleep(0.05)
        log.failures.clear()
        await until(lambda: bool(log.ids))

    lost = written(log, work)
    assert log.ids == ["7", "8", "9", "10", "11"]
    assert lost == 7


def test_a_log_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "END_S", 0.2)
    log = MemoryLog()
    log.held = Event()

    async def work(writer: AuditWriter) -> None:
        await writer.add(row(1))
        await asyncio.sleep(0.1)  # it is on its way
        await writer.add(row(2))

    began_s = time.monotonic()
    assert written(log, work) == 2
    assert time.monotonic() - began_s < 2
    log.held.set()
