"""The server's own protocol: as a state machine, and over a real socket."""

import json
import time
from contextlib import suppress

import numpy as np
import pytest
from tests.serving.live.stream_models import SlowReader, heard
from tests.serving.sockets.socket_server import KEY
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from harken.core import InputError, Word
from harken.http.limits import LimitSettings
from harken.inference.streaming import Committed, Endpoint, Final, Partial, StreamingASR, StreamingConfig
from harken.serving.contract import LiveOptions
from harken.serving.live.settings import LiveSettings
from harken.serving.sockets.dialect import Audio, BadMessage, Finish, Flush, Open
from harken.serving.sockets.native import NativeDialect
from harken.serving.sockets.settings import SocketSettings

FIXED = StreamingConfig(policy="fixed")


def started(**fields) -> tuple[NativeDialect, LiveOptions]:
    dialect = NativeDialect("s1")
    (action,) = dialect.read(json.dumps({"type": "start", **fields}))
    assert isinstance(action, Open)
    return dialect, action.options


def test_a_start_message_says_what_the_stream_is() -> None:
    dialect, options = started(
        model="m", language="uz", encoding="mulaw", sample_rate=8_000, channels=2, endpoint_pause_s=0.4
    )
    assert options == LiveOptions(
        model="m", language="uz", encoding="mulaw", sample_rate_hz=8_000, channels=2, endpoint_pause_s=0.4
    )
    assert dialect.opened(options, "tiny") == [
        {"type": "ready", "session_id": "s1", "model": "tiny", "sample_rate": 8_000}
    ]
    assert started(encoding="opus")[1].sample_rate_hz == 48_000
    assert started()[1] == LiveOptions()


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("nothing", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "JSON list"),
        ('{"type": "begin"}', "type is 'begin'"),
        ('{"type": "flush"}', "no stream for flush"),
        ('{"type": "start", "speed": 2}', "start has no 'speed'"),
        ('{"type": "start", "sample_rate": "fast"}', "sample_rate is 'fast'"),
        ('{"type": "start", "sample_rate": true}', "sample_rate is 'True'"),
        ('{"type": "start", "sample_rate": 1}', "sample_rate is 1"),
        ('{"type": "start", "encoding": "mp3"}', "encoding is 'mp3'"),
        ('{"type": "start", "endpoint_pause_s": Infinity}', "the number inf"),
        (b"\0\0", "no stream for audio"),
    ],
)
def test_messages_that_the_protocol_does_not_have(message, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        NativeDialect("s1").read(message)


def test_messages_after_the_start() -> None:
    dialect, options = started()
    dialect.opened(options, "tiny")
    assert dialect.read(b"\1\2") == [Audio(b"\1\2")]
    assert dialect.read('{"type": "keepalive"}') == []
    assert dialect.read('{"type": "flush"}') == [Flush()]
    assert dialect.read('{"type": "finish"}') == [Finish()]
    with pytest.raises(BadMessage, match="has been started"):
        dialect.read('{"type": "start"}')


def test_events_as_messages() -> None:
    dialect, _ = started()
    word = Word(text="one", start_s=0.5, end_s=0.9, confidence=0.75)
    assert dialect.told(Partial(text="one two", at_s=1.0)) == [{"type": "hypothesis", "text": "one two", "at_s": 1.0}]
    assert dialect.told(Partial(text="one two", at_s=1.5)) == []
    assert dialect.told(Committed(words=(word,), at_s=2.0)) == [
        {
            "type": "committed",
            "text": "one",
            "words": [{"text": "one", "start_s": 0.5, "end_s": 0.9, "confidence": 0.75}],
            "at_s": 2.0,
        }
    ]
    assert dialect.told(Partial(text="two", at_s=2.0)) == []  # what is left of the hypothesis
    assert dialect.told(Endpoint(rule="pause", silence_s=2.5, at_s=3.0)) == [
        {"type": "endpoint", "rule": "pause", "silence_s": 2.5, "at_s": 3.0}
    ]
    assert dialect.told(Final(text="one\ntwo", at_s=4.0)) == [{"type": "final", "text": "one\ntwo", "duration_s": 4.0}]


def open_socket(server, path: str = "/ws/transcribe", **options) -> ClientConnection:
    headers = {"Authorization": f"Bearer {KEY}"}
    return connect(server.ws + path, additional_headers=headers, **options)


def start(socket: ClientConnection, **fields) -> dict:
    socket.send(json.dumps({"type": "start", **fields}))
    return json.loads(socket.recv(5))


def rest(socket: ClientConnection) -> tuple[list[dict], int | None]:
    """All messages until the socket closes, and its code."""
    messages = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(socket.recv(20)))
    return messages, socket.close_code


def test_the_transcript_is_that_of_the_recognizer(serve, pausing, raw: bytes) -> None:
    session = StreamingASR(pausing).session()
    expected = [*session.push(heard(raw)), *session.finish()]
    server = serve()
    with open_socket(server) as socket:
        ready = start(socket)
        assert (ready["type"], ready["model"], ready["sample_rate"]) == ("ready", "tiny", 16_000)
        for first in range(0, len(raw), 3_201):
            socket.send(raw[first : first + 3_201])
        socket.send('{"type": "finish"}')
        messages, code = rest(socket)
    assert code == 1000
    assert messages[-1] == {"type": "final", "text": expected[-1].text, "duration_s": len(raw) / 32_000}
    assert len(expected[-1].text.splitlines()) >= 2
    words = [word for message in messages if message["type"] == "committed" for word in message["words"]]
    assert words == [
        {"text": w.text, "start_s": w.start_s, "end_s": w.end_s, "confidence": w.confidence}
        for event in expected
        if isinstance(event, Committed)
        for w in event.words
    ]
    ends = [message for message in messages if message["type"] == "endpoint"]
    assert [end["silence_s"] for end in ends] == [e.silence_s for e in expected if isinstance(e, Endpoint)] != []
    server.wait_idle()
    (row,) = server.rows(1)
    assert (row.principal, row.route, row.status, row.model) == ("key:test", "/ws/transcribe", 101, "tiny")
    assert (row.audio_s, row.text) == (len(raw) / 32_000, expected[-1].text)
    assert row.details == {"ended": "finished", "close_code": "1000"}
    assert row.request_id == ready["session_id"]


def test_a_flush_commits_and_the_stream_goes_on(serve, raw: bytes) -> None:
    with open_socket(serve()) as socket:
        start(socket)
        socket.send(raw[:32_000])
        socket.send('{"type": "flush"}')
        messages = []
        while not messages or messages[-1]["type"] != "endpoint":
            messages.append(json.loads(socket.recv(5)))
        assert messages[-1] == {"type": "endpoint", "rule": "flush", "silence_s": 1.0, "at_s": 1.0}
        assert any(message["type"] == "committed" for message in messages)
        socket.send('{"type": "finish"}')
        assert rest(socket)[1] == 1000


def test_without_credentials_or_scope_there_is_no_socket(serve) -> None:
    server = serve()
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.ws}/ws/transcribe").__enter__()
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["code"] == "not_authenticated"
    server.keys.scopes = frozenset({"transcribe"})
    with pytest.raises(InvalidStatus) as refused:
        open_socket(server)
    assert refused.value.response.status_code == 403


def test_one_socket_too_many(serve) -> None:
    server = serve(limits=LimitSettings(streams=1))
    with open_socket(server) as socket:
        start(socket)
        with pytest.raises(InvalidStatus) as refused:
            open_socket(server)
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"]
    server.wait_idle()
    time.sleep(0.1)
    with open_socket(server) as socket:
        assert start(socket)["type"] == "ready"
    assert [row.status for row in server.rows(2)][:2] == [429, 101]


def test_one_stream_too_many(serve) -> None:
    server = serve(live=LiveSettings(streams=1))
    with open_socket(server) as socket, open_socket(server) as other:
        start(socket)
        assert start(other)["error"]["code"] == "queue_full"
        assert rest(other) == ([], 1013)


def test_three_bad_messages_in_a_row_close_the_socket(serve) -> None:
    with open_socket(serve()) as socket:
        for _ in range(2):
            socket.send("nonsense")
            assert json.loads(socket.recv(5))["error"]["code"] == "bad_message"
        assert start(socket, model="other")["error"]["code"] == "unknown_model"
        assert rest(socket) == ([], 1007)


def test_a_good_message_forgives_bad_ones(serve) -> None:
    with open_socket(serve()) as socket:
        for _ in range(3):
            socket.send("nonsense")
            socket.send("nonsense")
            socket.send('{"type": "keepalive"}')
        assert start_after(socket, 6)["type"] == "ready"


def start_after(socket: ClientConnection, errors: int) -> dict:
    assert {json.loads(socket.recv(5))["type"] for _ in range(errors)} == {"error"}
    return start(socket)


def test_numbers_that_are_none_are_a_bad_message(serve) -> None:
    with open_socket(serve()) as socket:
        start(socket, encoding="linear32")
        socket.send(np.full(100, np.nan, np.float32).tobytes())
        error = json.loads(socket.recv(5))["error"]
        assert (error["code"], "NaN" in error["message"]) == ("input_error", True)
        socket.send('{"type": "finish"}')
        assert rest(socket) == ([{"type": "final", "text": "", "duration_s": 0.0}], 1000)


def test_a_message_above_the_limit_closes_the_socket(serve) -> None:
    server = serve()
    with open_socket(server) as socket:
        start(socket)
        socket.send(bytes((1 << 20) + 1))
        assert rest(socket) == ([], 1009)
    server.wait_idle()


def test_who_says_nothing_is_closed_with_what_was_heard(serve, raw: bytes) -> None:
    server = serve(sockets=SocketSettings(idle_s=0.5))
    with open_socket(server) as socket:
        start(socket)
        for _ in range(4):
            time.sleep(0.25)
            socket.send('{"type": "keepalive"}')
        socket.send(raw[:32_000])
        messages, code = rest(socket)
    assert (messages[-1]["type"], messages[-1]["duration_s"], code) == ("final", 1.0, 1001)
    server.wait_idle()


def test_at_shutdown_the_last_events_are_told(serve, raw: bytes) -> None:
    server = serve()
    with open_socket(server) as socket:
        start(socket)
        socket.send(raw[:64_000])
        time.sleep(0.2)
        server.begin_closing()
        messages, code = rest(socket)
    assert (messages[-1]["type"], messages[-1]["duration_s"], code) == ("final", 2.0, 1012)
    assert messages[-1]["text"]
    server.wait_idle()


def test_a_flood_is_slowed_down_and_one_that_stands_still_refused(serve) -> None:
    server = serve(
        SlowReader(0.3), live=LiveSettings(streaming=FIXED, backlog_s=1.0, patience_s=0.1), sockets=SocketSettings()
    )
    with open_socket(server) as socket:
        start(socket)
        for _ in range(8):
            socket.send(bytes(320_000))
        messages, code = rest(socket)
    assert (messages[-1]["error"]["code"], code) == ("stream_flooded", 1008)
    server.wait_idle()


def test_an_engine_that_breaks_is_ours(serve) -> None:
    server = serve(SlowReader(error=ValueError("secret")), live=LiveSettings(streaming=FIXED))
    with open_socket(server) as socket:
        start(socket)
        socket.send(bytes(128_000))
        messages, code = rest(socket)
    assert (messages[-1]["error"]["code"], code) == ("run_failed", 1011)
    assert "secret" not in json.dumps(messages)
    server.wait_idle()


def test_a_client_that_leaves_frees_its_stream(serve, raw: bytes) -> None:
    server = serve(SlowReader(0.2), live=LiveSettings(streaming=FIXED, backlog_s=60))
    socket = open_socket(server, legacy=True)
    start(socket)
    socket.send(bytes(1_000_000))
    time.sleep(0.1)
    assert server.live.open_streams == 1
    socket.socket.close()
    server.wait_idle(1.0)
    socket.close()
    assert server.rows(1)[0].details == {"ended": "client_left"}


def test_audio_is_charged_and_beyond_the_quota_refused(serve) -> None:
    server = serve(SlowReader(), live=LiveSettings(streaming=FIXED), limits=LimitSettings(audio_s_per_day=12))
    with open_socket(server) as socket:
        start(socket)
        for _ in range(30):
            socket.send(bytes(32_000))
        messages, code = rest(socket)
    assert (messages[-1]["error"]["code"], code) == ("rate_exceeded", 1008)
    with open_socket(server) as socket:
        start(socket)
        for _ in range(3):
            socket.send(bytes(64_000))
        assert rest(socket)[1] == 1008


def test_a_file_sent_as_fast_as_it_can_be_is_heard_to_its_end(serve) -> None:
    server = serve(SlowReader(0.01), live=LiveSettings(streaming=FIXED, backlog_s=2.0, patience_s=5.0))
    with open_socket(server) as socket:
        start(socket)
        for _ in range(30):
            socket.send(bytes(64_000))
        socket.send(bytes(1 << 20))  # 32.8 s in one message
        socket.send('{"type": "finish"}')
        messages, code = rest(socket)
    assert (messages[-1]["duration_s"], code) == (60 + (1 << 20) / 32_000, 1000)


def test_credentials_that_hold_no_more_end_the_stream(serve, raw: bytes) -> None:
    server = serve(sockets=SocketSettings(recheck_s=0.1))
    with connect(f"{server.ws}/ws/transcribe", additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
        socket.send('{"type": "start"}')
        assert json.loads(socket.recv())["type"] == "ready"
        time.sleep(0.3)
        socket.send(raw[:3200])
        server.keys.revoked = True
        messages = []
        with suppress(ConnectionClosed):
            while True:
                messages.append(json.loads(socket.recv(timeout=3)))
    assert (socket.close_code, socket.close_reason) == (1008, "not_authenticated")
    assert messages[-1]["error"]["message"] == "The credentials hold no more."
    (row,) = server.rows(1)
    assert row.details == {"ended": "not_authenticated", "close_code": "1008"}
    server.wait_idle()


@pytest.mark.parametrize("start", ['"endpoint_pause_s": 1' + "0" * 400, r'"language": "\ud800"', r'"\udc00": 1'])
def test_what_cannot_be_repeated_leaves_the_stream_open(serve, start: str) -> None:
    with connect(f"{serve().ws}/ws/transcribe", additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
        socket.send(f'{{"type": "start", {start}}}')
        assert json.loads(socket.recv(timeout=3))["error"]["code"] == "bad_message"
        socket.send('{"type": "start"}')
        assert json.loads(socket.recv(timeout=3))["type"] == "ready"
