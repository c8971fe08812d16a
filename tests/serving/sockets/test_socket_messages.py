"""Sending without keeping others from the loop."""

import asyncio
from itertools import pairwise
from typing import Any, cast

from starlette.websockets import WebSocket

from harken.serving.sockets.socket_messages import SocketMessages


class Taker:
    """A client that takes whatever comes at once, so that sending never waits."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def send_text(self, text: str) -> None:
        self.texts.append(text)


def test_others_have_their_turn_between_many_messages() -> None:
    async def main() -> None:
        taker, ahead = Taker(), [0]
        sending = asyncio.create_task(
            SocketMessages(cast(WebSocket, cast(Any, taker)), send_s=5.0).send({"n": n} for n in range(1_000))
        )
        while not sending.done():
            ahead.append(len(taker.texts))
            await asyncio.sleep(0)
        ahead.append(len(taker.texts))
        assert ahead[-1] == 1_000
        assert max(after - before for before, after in pairwise(ahead)) <= 16

    asyncio.run(main())
