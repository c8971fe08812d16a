"""The parts of a server together: jobs and webhooks beside requests, and an end that loses nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from harken.core import MissingPart
from harken.http.auth import Principal
from harken.serving.app import create_app
from harken.serving.contract import TranscribeOptions
from harken.serving.jobs.work import KIND, item_payload, job_payload
from harken.serving.parts import ServerParts
from harken.serving.settings import read_settings
from harken.storage.audit import AuditLog
from harken.storage.database import Database

ANN = Principal(id="ann", name="ann", kind="key", scopes=frozenset(), rate=None, audio_s_per_day=None, streams=None)


def app_of(model: Path, home: Path, **given: Any) -> FastAPI:
    storage = {"database": f"sqlite:///{home}/harken.db", "blobs": (home / "store").as_uri()}
    settings = {
        "models": {"models": [{"path": str(model), "engine": "onnx"}]},
        "storage": storage,
        "decode": {"workers": 1},
        "spool": str(home / "spool"),
        **given,
    }
    return create_app(read_settings(None, environment={}, given=settings))


def during(app: FastAPI, work: Callable[[ServerParts], Awaitable[None]]) -> None:
    async def run() -> None:
        async with app.router.lifespan_context(app):
            await work(app.state.server)

    asyncio.run(run())


def submit(parts: ServerParts, recordings: list[Path]) -> str:
    items = [item_payload(parts.blobs.put_file(path), path.name) for path in recordings]
    payload = job_payload(TranscribeOptions(), word_times=False, principal=ANN)
    job = parts.queue.create(KIND, payload, items, owner="ann", webhook="https://hooks.invalid/x")
    parts.worker.wake()
    return job


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def test_jobs_are_done_beside_requests_and_audited_before_the_end(
    onnx_model: Path, recordings: list[Path], tmp_path: Path
) -> None:
    app = app_of(onnx_model, tmp_path, audit={"text": True}, jobs={"poll_s": 30})
    texts: list[str] = []

    async def work(parts: ServerParts) -> None:
        job = submit(parts, recordings[:2])  # woken: it is done long before the next look
        await until(lambda: parts.queue.view(job).finished_s)  # type: ignore[union-attr]
        texts.extend(item.result["text"] for item in parts.queue.results(job) if item.result)
        heard = [await parts.transcription.transcribe(path, TranscribeOptions()) for path in recordings[:2]]
        assert texts == [found.transcript.text for found in heard]
        for check in ("models", "decoder", "database", "blobs", "cache", "limits"):
            assert await parts.checks[check].ask()

    during(app, work)
    database = Database.open(f"sqlite:///{tmp_path}/harken.db")
    assert sorted(str(row.text) for row in AuditLog(database).recent(10)) == sorted(texts)
    database.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_draining_server_begins_no_more_files(onnx_model: Path, recordings: list[Path], tmp_path: Path) -> None:
    app = app_of(onnx_model, tmp_path, jobs={"poll_s": 0.02})

    async def work(parts: ServerParts) -> None:
        app.state.drain.begin()
        await asyncio.sleep(0.1)
        job = submit(parts, recordings[:1])
        await asyncio.sleep(0.3)
        assert [(item.state, item.attempts) for item in parts.queue.results(job)] == [("queued", 0)]

    during(app, work)


def test_without_workers_jobs_wait_for_others(onnx_model: Path, recordings: list[Path], tmp_path: Path) -> None:
    app = app_of(onnx_model, tmp_path, jobs={"workers": 0, "poll_s": 0.02})

    async def work(parts: ServerParts) -> None:
        job = submit(parts, recordings[:1])
        await asyncio.sleep(0.3)
        assert [item.state for item in parts.queue.results(job)] == ["queued"]

    during(app, work)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"storage": {"database": "postgresql+psycopg://x:hunter2@127.0.0.1:1/x"}}, "database"),
        ({"storage": {"blobs": "file:///dev/null/x"}}, "cannot be made"),
        ({"spool": "/dev/null/x"}, "folder of uploads"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(
    onnx_model: Path, tmp_path: Path, given: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARKEN_HOME", str(tmp_path))

    async def work(_: ServerParts) -> None: ...

    with pytest.raises(MissingPart, match=message) as caught:
        during(app_of(onnx_model, tmp_path, **given), work)
    assert "hunter2" not in str(caught.value)
