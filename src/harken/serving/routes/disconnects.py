"""Work that ends with the connection of the client who waits for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, Self, TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns or raises. A client that leaves cancels it at once.

    Call it when the body is read: from then on a server has nothing to tell but that the client is gone, and Starlette
    does not listen for that while a plain route runs. Raises ClientDisconnect for a client who left.
    """
    async with WatchedWork(request.receive, work) as watched:
        return await watched.result()


class WatchedWork(Generic[T]):
    """A task that is cancelled when the client leaves or the context ends; the context waits until it has ended."""

    def __init__(self, receive: Receive, work: Coroutine[Any, Any, T]) -> None:
        self._work = asyncio.ensure_future(work)
        self._departure = asyncio.ensure_future(_departure(receive))

    async def over(self, within_s: float) -> bool:
        """Whether the work ends in this time, well or not. Raises ClientDisconnect for a client who left."""
        await asyncio.wait({self._work, self._departure}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._work.done() and self._departure.done():
            raise ClientDisconnect
        return self._work.done()

    async def result(self) -> T:
        """What the work returns or raises. Raises ClientDisconnect for a client who left."""
        await asyncio.wait({self._work, self._departure}, return_when=asyncio.FIRST_COMPLETED)
        if not self._work.done():
            raise ClientDisconnect
        return self._work.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._departure.cancel()
        self._work.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({self._work, self._departure})
        for task in (self._work, self._departure):
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not report it as lost


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
