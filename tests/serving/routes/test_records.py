"""Rows are written also for requests that are cancelled."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from tests.serving.route_server import Stand

from harken.http.auth import Principal
from harken.serving.routes.records import recorded

ANYONE = Principal(id="p", name="p", kind="anonymous", scopes=frozenset())


def test_a_cancelled_request_has_its_row(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path)

    async def check() -> None:
        scope: dict[str, Any] = {
            "type": "http",
            "app": stand.app(),
            "route": SimpleNamespace(path="/transcribe"),
            "state": {"request_id": "r-1"},
        }

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
