"""Sockets for the benchmark of serving: many in real time, idle ones, and one that is silent for half an hour."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.serving_server import Server

RATE_HZ = 16_000
STEP_S = 0.1  # of audio in a message of a stream in real time


@dataclass(kw_only=True)
class Heard:
    """What streams in real time came to."""

    events: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def in_real_time(server: Server, sockets: int) -> Iterator[Heard]:
    """Meanwhile so many sockets send noise as a microphone would. They finish their streams at the end."""
    heard, stop = Heard(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_talk(server, sockets, heard, stop)))
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join()


def idle_bytes(server: Server, sockets: int, wait_s: float) -> float:
    """Memory of the server that each of some streams without audio takes."""

    async def measure() -> float:
        before = server.rss_bytes
        held = [await _opened(server) for _ in range(sockets)]
        await asyncio.sleep(wait_s)
        after = server.rss_bytes
        await asyncio.gather(*(one.close() for one in held))
        return (after - before) / sockets

    return asyncio.run(measure())


def silence(server: Server, minutes: float, step_s: float = 0.5) -> tuple[list[int], float]:
    """(memory of the server after each minute of silence, seconds it took), sent as fast as the server takes it."""
    return asyncio.run(_silence(server, minutes, step_s))


async def _silence(server: Server, minutes: float, step_s: float) -> tuple[list[int], float]:
    quiet = np.zeros(round(step_s * RATE_HZ), "<i2").tobytes()
    began, steps, rss_bytes = time.perf_counter(), round(minutes * 60 / step_s), []
    async with await _opened(server) as socket:
        reading = asyncio.create_task(_read(socket, Heard()))
        for step in range(1, steps + 1):
            await socket.send(quiet)
            if step % round(60 / step_s) == 0:
                rss_bytes.append(server.rss_bytes)
        await socket.send(json.dumps({"type": "finish"}))
        final = await reading
    if final is None or abs(final - minutes * 60) > 1:
        raise RuntimeError(f"{minutes:g} min of silence ended after {final} s")
    return rss_bytes, time.perf_counter() - began


async def _talk(server: Server, sockets: int, heard: Heard, stop: threading.Event) -> None:
    generator = np.random.default_rng(2)
    noise = [
        generator.normal(0, 2_000, round(STEP_S * RATE_HZ)).clip(-32_768, 32_767).astype("<i2").tobytes()
        for _ in range(16)
    ]

    async def one(number: int) -> None:
        try:
            async with await _opened(server) as socket:
                reading = asyncio.create_task(_read(socket, heard))
                await asyncio.sleep(STEP_S * number / sockets)
                step, began = 0, time.monotonic()
                while not stop.is_set():
                    await socket.send(noise[(number + step) % len(noise)])
                    step += 1
                    await asyncio.sleep(max(0.0, began + step * STEP_S - time.monotonic()))
                await socket.send(json.dumps({"type": "finish"}))
                if await reading is None:
                    heard.failures.append("a stream ended without its final event")
        except Exception as err:  # noqa: BLE001 (every socket is counted, whatever ends it)
            heard.failures.append(f"{type(err).__name__}: {err}")

    await asyncio.gather(*(one(number) for number in range(sockets)))


async def _opened(server: Server) -> ClientConnection:
    """A socket whose stream is ready."""
    socket = await connect(
        f"ws://127.0.0.1:{server.port}/ws/transcribe", compression=None, ping_interval=None, open_timeout=60
    )
    await socket.send(json.dumps({"type": "start"}))
    ready = json.loads(await socket.recv())
    if ready["type"] != "ready":
        raise RuntimeError(f"no stream: {ready}")
    return socket


async def _read(socket: ClientConnection, heard: Heard) -> float | None:
    """Takes events until the end; seconds of audio that the final one tells, None where there is none."""
    final: float | None = None
    async for message in socket:
        event = json.loads(message)
        heard.events += 1
        if event["type"] == "error":
            heard.failures.append(event["error"]["message"])
        elif event["type"] == "final":
            final = event["duration_s"]
    return final
