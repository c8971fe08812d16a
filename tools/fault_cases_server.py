"""A server under test as anybody may see it: by its URL and, on the same machine, by its process."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

MIB = 1 << 20
PATHS = {"openai": "/v1/audio/transcriptions", "harken": "/transcribe"}
_SHOWN = 160
"""Letters of an answer that are kept."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: an HTTP status, "hung" after the whole of the time that was given, or "closed" without one."""

    status: int | str
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def refused(self) -> bool:
        return isinstance(self.status, int) and 400 <= self.status < 500

    @property
    def shape(self) -> str:
        """The shape of the body of an error: openai, harken, or what it has instead."""
        try:
            body = json.loads(self.text)
        except ValueError:
            return "no JSON"
        error = body.get("error") if isinstance(body, dict) else None
        if isinstance(error, dict) and list(error) == ["message", "type", "param", "code"]:
            return "openai"
        if isinstance(error, dict) and set(error) == {"code", "message", "hint", "request_id"}:
            return "harken"
        return json.dumps(body)[:60]

    def __str__(self) -> str:
        if not isinstance(self.status, int):
            return f"{self.status} after {self.took_s:.0f} s" if self.status == "hung" else self.status
        return f"{self.status} {' '.join(self.text.split())[:_SHOWN]}".strip()


@dataclass(kw_only=True)
class Target:
    """`shape` is the HTTP API that is spoken, `sockets` the protocol of its WebSockets, if it has any."""

    url: str
    shape: str = "openai"
    key: str = ""
    model: str = "whisper-1"
    pid: int = 0
    ws: str = ""
    sockets: str = ""
    timeout_s: float = 60.0

    @property
    def path(self) -> str:
        return PATHS[self.shape]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def fields(self, **more: str | None) -> dict[str, str]:
        """The fields of an upload; None leaves one out."""
        given = {"model": self.model, **more} if self.shape == "openai" or self.model else more
        return {name: value for name, value in given.items() if value is not None}

    def post(
        self,
        audio: bytes | None,
        *,
        name: str = "a.wav",
        headers: Mapping[str, str] | None = None,
        **fields: str | None,
    ) -> Answer:
        """An upload of one file; without audio a form that lacks it."""
        files: Any = {"file": (name, audio)} if audio is not None else {"prompt": (None, "")}
        sent = self.headers if headers is None else headers
        return self.ask(
            lambda: httpx.post(
                self.url + self.path, files=files, data=self.fields(**fields), headers=sent, timeout=self.timeout_s
            )
        )

    def get(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, timeout_s: float = 10.0
    ) -> Answer:
        sent = self.headers if headers is None else headers
        return self.ask(lambda: httpx.request(method, self.url + path, headers=sent, timeout=timeout_s))

    @staticmethod
    def ask(request: Callable[[], httpx.Response]) -> Answer:
        began_s = time.monotonic()
        try:
            found = request()
        except httpx.TimeoutException:
            return Answer(status="hung", took_s=time.monotonic() - began_s)
        except httpx.HTTPError as error:
            return Answer(status="closed", text=str(error), took_s=time.monotonic() - began_s)
        took_s = time.monotonic() - began_s
        return Answer(status=found.status_code, text=found.text, headers=found.headers, took_s=took_s)

    def connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        return socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=self.timeout_s)

    def send_raw(self, *pieces: bytes, timeout_s: float = 15.0) -> tuple[Answer, int]:
        """Bytes as they are on a new connection, what is answered, even before all are taken, and how many were."""
        sent, began_s = 0, time.monotonic()
        with self.connect() as connection:
            connection.settimeout(timeout_s)
            try:
                for piece in pieces:
                    try:
                        connection.sendall(piece)
                    except (BrokenPipeError, ConnectionResetError):
                        break
                    sent += len(piece)
                found = http.client.HTTPResponse(connection)
                found.begin()
                text = found.read().decode(errors="replace")
                headers = {name.lower(): value for name, value in found.getheaders()}
                answer = Answer(status=found.status, text=text, headers=headers, took_s=time.monotonic() - began_s)
                found.close()
            except TimeoutError:
                answer = Answer(status="hung", took_s=time.monotonic() - began_s)
            except (OSError, http.client.HTTPException):
                answer = Answer(status="closed", took_s=time.monotonic() - began_s)
        return answer, sent

    def alive(self, *, within_s: float = 10.0) -> bool:
        """It answers at /health."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            if self.get("/health", timeout_s=max(deadline_s - time.monotonic(), 0.1)).status == 200:
                return True
            time.sleep(0.1)
        return False

    def processes(self) -> list[psutil.Process]:
        """The server and its children; none where its PID is not known."""
        if not self.pid:
            return []
        with suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.pid)
            return [server, *server.children(recursive=True)]
        return []

    def memory(self) -> int:
        return sum(_unless_gone(lambda each=each: each.memory_info().rss, 0) for each in self.processes())

    def cpu_s(self) -> float:
        return sum(_unless_gone(lambda each=each: sum(each.cpu_times()[:2]), 0.0) for each in self.processes())

    def udp_ports(self) -> set[int]:
        ports: set[int] = set()
        for each in self.processes():
            found = _unless_gone(lambda each=each: each.net_connections("udp"), [])
            ports |= {connection.laddr.port for connection in found if connection.laddr}
        return ports

    @contextmanager
    def watched(self) -> Iterator["Growth"]:
        """How far the memory of the server and its children rises within the context, and what UDP ports it opens."""
        growth, over = Growth(), threading.Event()
        before, ports = self.memory(), self.udp_ports()

        def watch() -> None:
            while not over.wait(0.03):
                growth.bytes = max(growth.bytes, self.memory() - before)
                growth.ports |= self.udp_ports() - ports

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield growth
        finally:
            over.set()
            thread.join()


@dataclass
class Growth:
    bytes: int = 0
    ports: set[int] = field(default_factory=set)


class Stream:
    """A WebSocket that has begun to listen to audio, in the protocol of the target."""

    def __init__(self, target: Target, *, begin: bool = True) -> None:
        self.target = target
        path = "/ws/transcribe" if target.sockets == "harken" else "/"
        self.socket: ClientConnection = connect(
            target.ws + path, additional_headers=target.headers, max_queue=None, legacy=True, close_timeout=5
        )
        self.first: Any = None
        if begin:
            if target.sockets == "harken":
                self.say(type="start")
            else:
                self.say(uid="fault-cases", language="en", task="transcribe", model="small", use_vad=False)
            self.first = self.hear(target.timeout_s)

    @property
    def ready(self) -> bool:
        return isinstance(self.first, dict) and "ready" in str(self.first).lower()

    def audio(self, pcm16: bytes) -> bytes:
        """linear16 in the encoding that the protocol has by default."""
        if self.target.sockets == "harken":
            return pcm16
        import numpy as np

        return (np.frombuffer(pcm16, "<i2").astype("<f4") / 32_768).tobytes()

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def finish(self) -> None:
        if self.target.sockets == "harken":
            self.say(type="finish")
        else:
            self.socket.send(b"END_OF_AUDIO")

    def hear(self, timeout_s: float = 10.0) -> Any:
        """A message, or how it closed, or "nothing"."""
        try:
            message = self.socket.recv(timeout_s)
        except TimeoutError:
            return "nothing"
        except ConnectionClosed as end:
            return f"closed {end.rcvd.code if end.rcvd is not None else 1006}"
        try:
            return json.loads(message)
        except ValueError:
            return str(message)[:_SHOWN]

    def rest(self, timeout_s: float = 10.0) -> tuple[list[Any], str]:
        """What is still said, and how it ends."""
        heard: list[Any] = []
        while isinstance(found := self.hear(timeout_s), dict):
            heard.append(found)
        return heard, str(found)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, ConnectionClosed):
            self.socket.close()


def socket_status(target: Target, headers: Mapping[str, str]) -> int:
    """The HTTP status of a handshake; 101 where the socket is accepted."""
    path = "/ws/transcribe" if target.sockets == "harken" else "/"
    try:
        connect(target.ws + path, additional_headers=dict(headers), legacy=True).close()
    except InvalidStatus as refused:
        return refused.response.status_code
    return 101


def _unless_gone(look: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return look()
    except psutil.Error:
        return otherwise
