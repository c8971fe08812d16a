"""A live stream for programs that wait: threads send, the caller's own receives."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from harken.client.address import ServerAddress
from harken.client.errors import ServerError, close_error
from harken.client.events import Flush, StreamEvent
from harken.client.live import (
    FINISH,
    FLUSH_MESSAGE,
    KEEPALIVE,
    PATH,
    POLL_S,
    Conversation,
    Ready,
    StreamOptions,
    connect_error,
    no_answer,
    opening_error,
    socket_settings,
)
from harken.client.session import SessionState, close_code


@contextmanager
def open_session(server: ServerAddress, options: StreamOptions) -> "Iterator[StreamSession]":
    """An open stream, closed with the context. Raises the server's refusal, or ServerUnreachable."""
    try:
        socket = connect(server.socket_at(PATH), **socket_settings(server)).__enter__()  # left by the close below
    except (OSError, WebSocketException) as err:
        raise connect_error(err, server) from err
    try:
        conversation = Conversation(server)
        ready = _begin(socket, conversation, options, server)
        session = StreamSession(socket, conversation, ready, options, server)
        try:
            yield session
        finally:
            session.close()
    finally:
        socket.close()


def _begin(
    socket: ClientConnection, conversation: Conversation, options: StreamOptions, server: ServerAddress
) -> Ready:
    try:
        socket.send(options.start)
        event = conversation.hear(socket.recv(timeout=server.timeout_s))
    except TimeoutError as err:
        raise no_answer(server) from err
    except ConnectionClosed as err:
        raise close_error(close_code(err), None) from err
    if conversation.ready is None:
        raise opening_error(event)
    return conversation.ready


class StreamSession(SessionState):
    """A live stream. Iterating gives its events, up to the final one that follows `finish`; the rest may be called
    from any thread meanwhile. `model` is the name of the model that hears it.
    """

    def __init__(
        self,
        socket: ClientConnection,
        conversation: Conversation,
        ready: Ready,
        options: StreamOptions,
        server: ServerAddress,
    ) -> None:
        super().__init__(conversation, ready, options, server)
        self._socket = socket
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name="harken-keepalive", daemon=True)
        self._keeper.start()

    def send(self, audio: bytes) -> None:
        """More audio, of any length. Returns once the network took it; raises the reason of a stream that ended."""
        for piece in self._options.pieces(audio):
            self._send(piece)
            self._sent_s = time.monotonic()

    def flush(self) -> None:
        """Commit all that was heard so far: an endpoint follows."""
        self._send(FLUSH_MESSAGE)

    def finish(self) -> None:
        """No more audio comes; the last events follow."""
        self._finished_s = time.monotonic()
        self._send(FINISH)

    def __iter__(self) -> Iterator[StreamEvent]:
        heard_s = time.monotonic()
        while True:
            try:
                event = self._conversation.hear(self._socket.recv(timeout=POLL_S))
            except TimeoutError:
                self._check_patience(heard_s)
                continue
            except ConnectionClosed as err:
                if (error := self._end(err)) is not None:
                    raise error from err
                return
            heard_s = time.monotonic()
            if event is not None:
                yield event

    def close(self) -> None:
        """Leave the stream, finished or not."""
        self._closing.set()
        self._socket.close()
        self._keeper.join()

    def send_all(self, audio: Iterable[bytes | Flush], *, realtime: bool) -> None:
        """Send `audio` to its end, with `realtime` no faster than it is spoken, and finish."""
        began_s, spoken_s = time.monotonic(), 0.0
        for item in audio:
            if isinstance(item, Flush):
                self.flush()
                continue
            ahead_s = spoken_s - (time.monotonic() - began_s)
            if realtime and ahead_s > 0 and self._closing.wait(ahead_s):
                return
            self.send(item)
            spoken_s += self._options.seconds(item)
        self.finish()

    def _send(self, message: str | bytes) -> None:
        try:
            self._socket.send(message)
        except ConnectionClosed as err:
            raise self._refusal(err) from err

    def _keep_alive(self) -> None:
        wait_s = self._options.keepalive_s
        with suppress(ServerError):
            while not self._closing.wait(wait_s) and self._finished_s is None:
                if (wait_s := self._keepalive_in_s()) <= 0:
                    self._send(KEEPALIVE)
                    wait_s = self._options.keepalive_s


def stream_events(session: StreamSession, audio: Iterable[bytes | Flush], *, realtime: bool) -> Iterator[StreamEvent]:
    """The events of `session` while a thread sends it `audio`. What the audio raises, this raises."""
    failures: list[BaseException] = []

    def send() -> None:
        try:
            session.send_all(audio, realtime=realtime)
        except ServerError:
            return  # the events end for the same reason, and say it
        except BaseException as err:  # noqa: BLE001  whatever the caller's audio raises belongs to the caller
            failures.append(err)
            session.close()

    # A daemon: audio that never comes must not keep the program from ending.
    threading.Thread(target=send, name="harken-stream", daemon=True).start()
    try:
        yield from session
    except ServerError:
        if failures:
            raise failures[0] from None
        raise
