"""A client of live streams that does not mind bad manners."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.serving.faults.server_process import ServerProcess
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PATH = "/ws/transcribe"


@contextmanager
def opened(server: ServerProcess, **start: Any) -> Iterator[ClientConnection]:
    """A stream of Harken's own protocol."""
    with connect(f"{server.ws}{PATH}", max_queue=None) as socket:
        say(socket, type="start", **start)
        assert hear(socket)["type"] == "ready"
        yield socket


def say(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def hear(socket: ClientConnection, timeout_s: float = 20.0) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout_s))
    return message


def rest(socket: ClientConnection, timeout_s: float = 20.0) -> tuple[list[dict[str, Any]], int]:
    """What is still said, and the code of the close."""
    heard = []
    try:
        while True:
            heard.append(hear(socket, timeout_s))
    except ConnectionClosed as end:
        return heard, end.rcvd.code if end.rcvd is not None else 1006  # it broke without a close frame
