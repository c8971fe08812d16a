"""Servers of live streams."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from tests.inference.streaming.conftest import WORDS, Make, noise, parts
from tests.serving.live.stream_models import pcm
from tests.serving.sockets.socket_server import SocketServer

from harken.core import Recognizer
from harken.http.limits import LimitSettings
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.serving.live.settings import LiveSettings
from harken.serving.sockets.settings import SocketSettings

__all__ = ["parts"]

Serve = Callable[..., SocketServer]


@pytest.fixture(scope="session")
def pausing(parts: Make) -> CtcRecognizer:
    """A random model that says nothing in digital silence, so that its streams have endpoints."""
    return parts(WORDS, chunked=False, seed=1).recognizer()


@pytest.fixture(scope="session")
def raw() -> bytes:
    """linear16 at 16 kHz: noise, 3 s of silence, noise, and a little silence."""
    return pcm(np.concatenate([noise(2), np.zeros(48_000, np.float32), noise(2, 1), np.zeros(8_000, np.float32)]))


@pytest.fixture
def serve(pausing: CtcRecognizer) -> Iterator[Serve]:
    """Starts servers that stop with the test."""
    with ExitStack() as servers:

        def start(
            recognizer: Recognizer = pausing,
            *,
            live: LiveSettings | None = None,
            sockets: SocketSettings | None = None,
            limits: LimitSettings | None = None,
        ) -> SocketServer:
            server = SocketServer(
                recognizer, live or LiveSettings(), sockets or SocketSettings(), limits or LimitSettings()
            )
            return servers.enter_context(server.running())

        yield start
