"""What a live stream's session remembers and decides by, for the client that waits and the one that awaits. No I/O."""

import time

from websockets.exceptions import ConnectionClosed

from harken.client.address import ServerAddress
from harken.client.errors import ServerError, close_error
from harken.client.live import Conversation, Ready, StreamOptions, no_answer


class SessionState:
    """`model` is the name of the model that hears the stream, `id` the stream's name in the server's log."""

    def __init__(self, conversation: Conversation, ready: Ready, options: StreamOptions, server: ServerAddress) -> None:
        self._conversation = conversation
        self._options = options
        self._server = server
        self._sent_s = time.monotonic()
        self._finished_s: float | None = None
        self.model = ready.model
        self.id = ready.session_id

    def _check_patience(self, heard_s: float) -> None:
        """Raises ConnectionLost where the last events do not come. Until `finish` silence is nothing unusual."""
        if self._finished_s is None:
            return
        if time.monotonic() - max(heard_s, self._finished_s) > self._server.timeout_s:
            raise no_answer(self._server)

    def _end(self, error: ConnectionClosed) -> ServerError | None:
        """What the end of the connection means to who listens; None where all was said."""
        return self._conversation.end(close_code(error))

    def _refusal(self, error: ConnectionClosed) -> ServerError:
        """What the end of the connection means to who still sends."""
        return self._end(error) or close_error(None, None)

    def _keepalive_in_s(self) -> float:
        """Seconds until the server has to be told that the stream lives on; 0 or less: now."""
        return self._options.keepalive_s - (time.monotonic() - self._sent_s)


def close_code(error: ConnectionClosed) -> int | None:
    return error.rcvd.code if error.rcvd is not None else None
