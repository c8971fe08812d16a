"""Rows are written also for requests that are cancelled."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from tests.serving.route_server import RESULT, Stand

from harken.core import RunFailed
from harken.http.auth import Principal
from harken.serving.contract import TranscribeOptions
from harken.serving.routes.records import recorded

ANYONE = Principal(id="p", name="p", kind="anonymous", scopes=frozenset())


class Keeper:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def take(self, audio: Path) -> Path:
        self.told.append(("take", audio.name))
        return audio

    def keep(self, taken: Path, facts: Any) -> None:
        self.told.append(("keep", taken.name, facts.request_id, facts.model, facts.duration_s, facts.text))

    def drop(self, taken: Path) -> None:
        self.told.append(("drop", taken.name))


def scope_of(app: FastAPI) -> dict[str, Any]:
    return {
        "type": "http",
        "app": app,
        "route": SimpleNamespace(path="/transcribe"),
        "state": {"request_id": "r-1"},
    }


@pytest.mark.parametrize("error", [None, RunFailed("It broke."), asyncio.CancelledError()])
def test_audio_is_kept_only_of_what_was_answered(tmp_path: Path, error: BaseException | None) -> None:
    stand, keeper = Stand(spool=tmp_path), Keeper()
    (tmp_path / "upload").write_bytes(b"audio")

    async def check() -> None:
        app = stand.app()
        app.state.server = replace(app.state.server, keeper=keeper)
        async with recorded(Request(scope_of(app)), ANYONE) as record:
            await record.transcribed(tmp_path / "upload", TranscribeOptions())
            assert keeper.told == [("take", "upload")]
            if error is not None:
                raise error

    if error is None:
        asyncio.run(check())
    else:
        with pytest.raises(type(error)):
            asyncio.run(check())
    length_s = RESULT.transcript.duration_s
    kept = ("keep", "upload", "r-1", "digits", length_s, RESULT.transcript.text)
    assert keeper.told[1:] == [kept if error is None else ("drop", "upload")]
    assert stand.rows[0].details.get("kept_files") == ("1" if error is None else None)


def test_a_cancelled_request_has_its_row(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path)

    async def check() -> None:
        scope = scope_of(stand.app())

        async def work() -> None:
            async with recorded(Request(scope), ANYONE):
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(check())
    assert [(row.request_id, row.status, dict(row.details)) for row in stand.rows] == [
        ("r-1", 499, {"error": "client_left"})
    ]
