"""Clients for the benchmark of serving: threads with a connection each, which leave the cores to the server."""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_BOUNDARY = "harken-benchmark"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for a file, and when by the clock of the load."""

    file: int
    status: int
    text: str
    code: str
    began_s: float
    took_s: float


def form(path: Path) -> bytes:
    """A multipart body with one file."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    return head.encode() + path.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def send(self, file: int, body: bytes) -> Answer:
        began = time.perf_counter()
        self._connection.request(
            "POST", "/transcribe", body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        )
        response = self._connection.getresponse()
        said = response.read()
        took_s = time.perf_counter() - began
        data = json.loads(said)
        error = data.get("error", {})
        return Answer(
            file=file, status=response.status, text=data.get("text", ""), code=error.get("code", ""),
            began_s=began, took_s=took_s,
        )  # fmt: skip

    def close(self) -> None:
        self._connection.close()


def load(port: int, bodies: Sequence[bytes], *, at_once: int, requests: int | None = None) -> list[Answer]:
    """Sends the bodies, from the first again after the last, `at_once` at a time; answers in the order sent."""
    total = len(bodies) if requests is None else requests
    numbers, lock = iter(range(total)), threading.Lock()
    answers: dict[int, Answer] = {}
    broken: list[Exception] = []

    def work() -> None:
        client = Client(port)
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                answers[number] = client.send(number % len(bodies), bodies[number % len(bodies)])
        except Exception as err:  # noqa: BLE001 (raised below, in the thread that asked)
            broken.append(err)
        finally:
            client.close()

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return [answers[number] for number in range(total)]
