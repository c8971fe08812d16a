"""What a session of either kind decides by: patience after the end, keep-alives, what a close means."""

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from harken.client import session as room
from harken.client.address import ServerAddress
from harken.client.errors import ConnectionLost, ServerBusy
from harken.client.live import Conversation, Ready, StreamOptions
from harken.client.session import SessionState, close_code


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(room, "time", made)
    return made


@pytest.fixture
def state(clock: Clock) -> SessionState:
    server = ServerAddress(url="http://127.0.0.1:1", timeout_s=10.0)
    options = StreamOptions(sample_rate_hz=16_000, keepalive_s=4.0)
    return SessionState(Conversation(server), Ready(session_id="s", model="m"), options, server)


def test_patience_ends_only_after_the_finish(state: SessionState, clock: Clock) -> None:
    clock.now_s = 1000.0
    state._check_patience(100.0)
    state._finished_s = 1000.0
    clock.now_s = 1010.0
    state._check_patience(100.0)
    clock.now_s = 1010.5
    with pytest.raises(ConnectionLost, match="did not answer within 10 s"):
        state._check_patience(100.0)
    state._check_patience(1005.0)  # something was heard since


def test_a_keepalive_is_due_after_silence(state: SessionState, clock: Clock) -> None:
    clock.now_s = 103.0
    assert state._keepalive_in_s() == 1.0
    clock.now_s = 105.0
    assert state._keepalive_in_s() == -1.0


def test_what_a_close_means(state: SessionState) -> None:
    closed = ConnectionClosedError(Close(1012, "shutdown"), None)
    assert close_code(closed) == 1012
    assert close_code(ConnectionClosedError(None, None)) is None
    assert isinstance(state._end(closed), ServerBusy)
    said = ConnectionClosedError(Close(1000, ""), None)
    state._conversation.complete = True
    assert state._end(said) is None
    assert isinstance(state._refusal(said), ConnectionLost)  # to who still sends, it is an end all the same
