"""One way to drive both clients, so that one test asks the same of each."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import httpx

from harken.client.async_client import AsyncHarkenClient
from harken.client.sync_client import HarkenClient


class Waiting:
    """`HarkenClient`, and the seconds it slept."""

    name = "sync"

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def call(self, url: str, use: Callable[[Any], Any], **options: Any) -> Any:
        """What `use` returns; a value, or the values of an iterator."""
        if "handler" in options:
            options["transport"] = httpx.MockTransport(options.pop("handler"))
        with HarkenClient(url, sleep=self.slept_s.append, **options) as client:
            result = use(client)
            return list(result) if hasattr(result, "__next__") else result

    def audio(self, pieces: Iterable[Any], pause_s: float = 0.0) -> Any:
        for piece in pieces:
            time.sleep(pause_s)
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Awaiting:
    """`AsyncHarkenClient`, and the seconds it slept."""

    name = "async"

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def call(self, url: str, use: Callable[[Any], Any], **options: Any) -> Any:
        async def sleep(seconds: float) -> None:
            self.slept_s.append(seconds)

        async def run() -> Any:
            if "handler" in options:
                options["transport"] = httpx.MockTransport(options.pop("handler"))
            async with AsyncHarkenClient(url, sleep=sleep, **options) as client:
                result = use(client)
                if not hasattr(result, "__anext__"):
                    return await result
                async with aclosing(result) as items:
                    return [item async for item in items]

        return asyncio.run(run())

    async def audio(self, pieces: Iterable[Any], pause_s: float = 0.0) -> AsyncIterator[Any]:
        for piece in pieces:
            await asyncio.sleep(pause_s)
            if isinstance(piece, Exception):
                raise piece
            yield piece


Both = Waiting | Awaiting
