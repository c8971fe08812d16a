"""WebSockets that send nonsense, too much or nothing at all: cases 25 to 29."""

import struct
import time
from contextlib import ExitStack, suppress
from socket import SHUT_RDWR
from typing import Any

import pytest
from tests.serving.faults.conftest import Start
from tests.serving.faults.live_client import PATH, hear, opened, rest, say
from tests.serving.faults.server_process import MIB, ServerProcess, until
from tests.serving.faults.sounds import RATE, noise
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

STREAMS = 'asr_active_streams{model="%s"}'


def idle(server: ServerProcess, model: str = "tiny") -> None:
    """Nothing of the stream is left within a second."""
    until(lambda: server.metric(STREAMS % model) == 0, within_s=1.5)


@pytest.mark.parametrize("bad", ["not json", "[1]", '{"type": "dance"}', "{" * 100_000, '"\\ud800"'])
def test_bad_json_is_an_event_and_three_of_it_the_end(server: ServerProcess, bad: str) -> None:
    with opened(server) as socket:
        for _ in range(2):
            socket.send(bad)
            error = hear(socket)
            assert (error["type"], set(error["error"])) == ("error", {"code", "message", "hint"})
        socket.send(noise(1))  # it stays open, and a good message makes good
        for _ in range(3):
            socket.send(bad)
        heard, code = rest(socket)
    assert [event["type"] for event in heard].count("error") == 3
    assert code == 1007
    idle(server)


@pytest.mark.parametrize(
    "start",
    [
        {"model": "absent"}, {"language": 5}, {"sample_rate": 1}, {"sample_rate": "fast"}, {"channels": 1024},
        {"encoding": "mp7"}, {"endpoint_pause_s": 1e999}, {"volume": 11},
    ],
)  # fmt: skip
def test_a_start_that_cannot_be(server: ServerProcess, start: dict[str, Any]) -> None:
    with connect(f"{server.ws}{PATH}") as socket:
        say(socket, type="start", **start)
        assert hear(socket)["type"] == "error"
        say(socket, type="start")
        assert hear(socket)["type"] == "ready", "it may try again"
        say(socket, type="finish")
        assert rest(socket)[1] == 1000
    idle(server)


def test_odd_byte_counts_are_put_together(server: ServerProcess) -> None:
    audio = noise(2.0, seed=3)
    texts = []
    for sizes in ([len(audio)], [1, 3, 999, 4_001, 1]):
        with opened(server) as socket:
            first, turn = 0, 0
            while first < len(audio):
                size = sizes[turn % len(sizes)]
                socket.send(audio[first : first + size])
                first, turn = first + size, turn + 1
            say(socket, type="finish")
            heard, code = rest(socket)
        assert (code, heard[-1]["type"]) == (1000, "final")
        assert heard[-1]["duration_s"] == pytest.approx(2.0)
        texts.append(heard[-1]["text"])
    assert texts[0] == texts[1]
    assert texts[0]
    with opened(server) as socket:
        socket.send(audio + b"\x00")
        say(socket, type="finish")
        assert rest(socket)[0][-1]["text"] == texts[0], "half a sample at the end is nothing"
    idle(server)


def test_an_oversized_frame(server: ServerProcess) -> None:
    """Its header alone is enough: none of the 3 GB that it announces is waited for."""
    with opened(server) as socket, server.growth_below(16 * MIB, workers=False):
        socket.socket.sendall(b"\x82\xff" + struct.pack(">Q", 3 << 30) + bytes(4))
        assert rest(socket) == ([], 1009)
    idle(server)


def test_an_oversized_message_in_small_frames(server: ServerProcess) -> None:
    with opened(server) as socket, server.growth_below(16 * MIB, workers=False):
        for opcode in (b"\x02", b"\x00", b"\x00", b"\x00"):  # four frames of 256 KiB, none of them the last
            socket.socket.sendall(opcode + b"\xff" + struct.pack(">Q", 256 << 10) + bytes(4) + bytes(256 << 10))
        socket.socket.sendall(b"\x00\x81" + bytes(4))  # and one byte more, which need not come
        assert rest(socket) == ([], 1009)
    idle(server)


def test_a_flood_is_held_back_and_ended(start: Start) -> None:
    """The model hears nothing meanwhile: 2 s wait, the socket's own buffers fill, and after another second it is over.
    Nothing piles up in the server.
    """
    server = start(LIVE__STREAMING__POLICY="fixed", OPEN_METRICS="true")
    piece = noise(1.0)
    with opened(server, model="faulty") as socket, server.switch("hold"), server.growth_below(24 * MIB, workers=False):
        began_s = time.monotonic()
        with suppress(ConnectionClosed):
            for _ in range(2_000):  # 64 MB, half an hour of audio
                socket.send(piece)
        heard, code = rest(socket)
        took_s = time.monotonic() - began_s
    assert code == 1008
    assert heard[-1]["error"]["code"] == "stream_flooded"
    assert took_s < 10
    idle(server, "faulty")


@pytest.mark.slow
def test_ten_times_real_time_is_heard_and_waits(server: ServerProcess) -> None:
    """Whoever sends faster than is heard waits: 3 minutes at once, of which nothing gets lost, and no memory is taken
    for them.
    """
    with opened(server) as socket, server.growth_below(24 * MIB, workers=False):
        for _ in range(180):
            socket.send(bytes(2 * RATE))
        say(socket, type="finish")
        heard, code = rest(socket, 60)
    assert code == 1000
    assert heard[-1]["duration_s"] == 180.0
    idle(server)


def test_silence_of_the_client_ends_the_stream(server: ServerProcess) -> None:
    with opened(server) as socket:
        began_s = time.monotonic()
        heard, code = rest(socket)
        took_s = time.monotonic() - began_s
    assert (code, heard[-1]["type"]) == (1001, "final")
    assert 2.5 < took_s < 6
    idle(server)


def test_one_connection_too_many(server: ServerProcess) -> None:
    with ExitStack() as sockets:
        for _ in range(3):
            sockets.enter_context(opened(server))
        with connect(f"{server.ws}{PATH}") as socket:
            say(socket, type="start")
            heard, code = rest(socket)
        assert (heard[-1]["error"]["code"], code) == ("queue_full", 1013)
        with pytest.raises(InvalidStatus) as caught:  # whose stream begins with the handshake
            connect(f"{server.ws}/v1/listen?encoding=linear16&sample_rate=16000").close()
        assert caught.value.response.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1
    idle(server)
    with opened(server) as socket:
        say(socket, type="finish")
        assert rest(socket)[1] == 1000


def test_a_client_that_vanishes_leaves_nothing(server: ServerProcess) -> None:
    with opened(server) as socket:
        socket.send(noise(5.0))
        socket.socket.shutdown(SHUT_RDWR)  # no goodbye
        idle(server)
