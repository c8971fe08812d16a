"""The cases of WebSockets."""

import struct
import time
from contextlib import ExitStack, suppress

from tests.serving.faults.sounds import noise
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tools.fault_cases_server import MIB, Stream, Target
from tools.fault_cases_uploads import Pose

BAD_MESSAGES = ("not json", "[1]", "{" * 10_000)
FLOOD_S = 600
"""Audio that is sent as fast as it goes."""


def bad_json(target: Target) -> list[Pose]:
    """An event that says what is wrong, or a close that does: 1003, 1007 or 1008."""
    poses = []
    for bad in BAD_MESSAGES:
        with Stream(target, begin=False) as stream:
            stream.socket.send(bad)
            found = stream.hear(15)
        fine = "error" in str(found).lower() or found in ("closed 1003", "closed 1007", "closed 1008")
        poses.append(Pose(bad[:10], found, fine))
    return poses


def odd_bytes(target: Target) -> list[Pose]:
    """The stream goes on, and ends as others do."""
    with Stream(target) as stream:
        audio = stream.audio(noise(2.0))
        first, ended = 0, ""
        for size in (1, 3, 999, 4_001, len(audio)):
            with suppress(ConnectionClosed):
                stream.socket.send(audio[first : first + size])
            first += size
            time.sleep(0.2)
        try:
            stream.socket.ping().wait(5)
            stream.finish()
            heard, ended = stream.rest(15)
            outcome = f"{len(heard)} messages, then {ended}"
        except ConnectionClosed as end:
            outcome = f"closed {end.rcvd.code if end.rcvd is not None else 1006} in the midst of the audio"
    return [Pose("frames of 1, 3, 999 and 4,001 bytes", outcome, ended == "closed 1000")]


def oversized_frame(target: Target) -> list[Pose]:
    """1009 for its header alone, or for a message of 64 MiB as it comes."""
    poses = []
    with Stream(target) as stream, target.watched() as growth:
        stream.socket.socket.sendall(b"\x82\xff" + struct.pack(">Q", 3 << 30) + bytes(4))
        _, ended = stream.rest(10)
    fine = ended == "closed 1009" and growth.bytes < 32 * MIB
    poses.append(Pose("a header that announces 3 GB", f"{ended}; memory +{growth.bytes // MIB} MiB", fine))
    with Stream(target) as stream, target.watched() as growth:
        with suppress(ConnectionClosed, OSError):
            stream.socket.send(bytes(64 * MIB))
        _, ended = stream.rest(10)
    fine = ended == "closed 1009" and growth.bytes < 32 * MIB
    poses.append(Pose("a message of 64 MiB", f"{ended}; memory +{growth.bytes // MIB} MiB", fine))
    return poses


def flood(target: Target) -> list[Pose]:
    """Held back or ended, and nothing piles up."""
    with Stream(target) as stream, target.watched() as growth:
        piece, began_s, sent_s = stream.audio(noise(0.5)), time.monotonic(), 0.0
        with suppress(ConnectionClosed):
            while sent_s < FLOOD_S and time.monotonic() - began_s < target.timeout_s:
                stream.socket.send(piece)
                sent_s += 0.5
        took_s = time.monotonic() - began_s
        with suppress(ConnectionClosed):
            stream.finish()
        _, ended = stream.rest(30)
    outcome = f"{sent_s:.0f} s of audio taken in {took_s:.1f} s, then {ended}; memory +{growth.bytes // MIB} MiB"
    return [Pose("10 min as fast as it goes", outcome, growth.bytes < 64 * MIB and ended != "nothing")]


def one_too_many(target: Target, streams: int) -> list[Pose]:
    """Refused with a reason; those before it stay."""
    with ExitStack() as opened:
        there = [opened.enter_context(Stream(target)) for _ in range(streams)]
        try:
            with Stream(target) as stream:
                outcome = f"{stream.first}, then {stream.rest(10)[1]}"
                fine = not stream.ready and isinstance(stream.first, dict)
        except InvalidHandshake as refused:
            outcome, fine = str(refused), True
        for each in there:
            each.socket.ping().wait(5)
    fine = fine and all(each.ready for each in there)
    return [Pose(f"stream {streams + 1} of {streams}", outcome, fine)]
