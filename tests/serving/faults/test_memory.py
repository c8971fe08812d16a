"""However much is uploaded, in how many files and by how many at once, the server holds little of it in memory."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.serving.faults.conftest import Start
from tests.serving.faults.server_process import MIB, NATIVE, until

GROWTH = 64 * MIB
TYPE = {"Content-Type": "multipart/form-data; boundary=b"}
END = b'--b\r\nContent-Disposition: form-data; name="mode"\r\n\r\nnow\r\n--b--\r\n'


def form(name: str, files: int, size: int, end: bytes) -> Iterator[bytes]:
    for number in range(files):
        yield f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{number}.wav"\r\n\r\n'.encode()
        for at in range(0, size, 60_000):
            yield bytes(min(60_000, size - at))
        yield b"\r\n"
    yield end


@pytest.mark.slow
def test_ten_thousand_files_in_one_form(start: Start) -> None:
    """600 MB, which are on disk when they turn out to be too many to be answered at once."""
    server = start(BODIES__MAX_BYTES=1 << 30, JOBS__MOST_FILES=10_000, JOBS__WORKERS=0)
    server.wait_ready()
    with server.growth_below(GROWTH, workers=False):
        body = form("files", 10_000, 60_000, END)
        answer = httpx.post(f"{server.url}/transcribe/batch", content=body, headers=TYPE, timeout=120)
    assert answer.status_code == 400
    assert "for 10000 files of 600000000 bytes" in answer.json()["error"]["message"]
    until(lambda: not server.left_over(), within_s=20)


@pytest.mark.slow
def test_thirty_large_forms_at_once(start: Start) -> None:
    """600 MB again; all have begun before the first one ends."""
    server = start(BODIES__MAX_BYTES=1 << 30, BODIES__FORMS=28, BODIES__IDLE_S=30)
    server.wait_ready()
    begun = threading.Barrier(30)

    def body() -> Iterator[bytes]:
        pieces = form("file", 1, 20_000_000, b"--b--\r\n")
        yield next(pieces)
        begun.wait(60)
        yield from pieces

    with server.growth_below(GROWTH, workers=False), ThreadPoolExecutor(30) as pool:
        sent = [
            pool.submit(httpx.post, f"{server.url}{NATIVE}", content=body(), headers=TYPE, timeout=120)
            for _ in range(30)
        ]
        answers = [found.result() for found in sent]
    codes = [answer.json()["error"]["code"] for answer in answers]
    assert codes.count("too_many_forms") == 2
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)
    assert set(codes) <= {"too_many_forms", "queue_full", "audio_decode_error", "damaged_audio"}
    until(lambda: not server.left_over(), within_s=20)
