"""Uploads on disk: named by nobody but us, and gone with their request."""

import asyncio
import io
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import UploadFile
from tests.serving.route_server import Stand

from harken.serving.routes.fields import BadParameter, Fields
from harken.serving.routes.uploads import ReceivedForm

NAMES = ["../../etc/passwd", "/etc/passwd", "a\r\nSet-Cookie: x=1", "a\0b.wav", "x" * 10_000, "..", "", "é\u202e.wav"]


@pytest.mark.parametrize("name", NAMES)
def test_the_clients_name_goes_nowhere(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    stand = Stand(spool=spool)
    quoted = name.replace("\\", "\\\\").replace('"', "%22")
    body = b"".join(
        [
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="',
            quoted.encode(),
            b'"\r\n\r\nsound\r\n--b--\r\n',
        ]
    )
    with caplog.at_level(logging.DEBUG), stand.running() as url:
        answer = httpx.post(
            f"{url}/transcribe", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
    # A line break ends a header: what follows is another one of the part. The parser bounds the length of a header.
    assert answer.status_code == (400 if len(name) > 1000 else 200), answer.text
    if answer.status_code == 200:
        [path] = stand.service.paths
        assert path.parent == spool
        assert re.fullmatch(r"[0-9a-f]{32}", path.name)
    assert sorted(tmp_path.rglob("*")) == [spool]
    for record in caplog.records:
        assert not name or len(name) < 3 or name not in record.getMessage()
    assert "set-cookie" not in answer.headers
    assert len(name) < 5 or name not in answer.text


def test_several_files(tmp_path: Path) -> None:
    uploads = [UploadFile(io.BytesIO(text), filename=name, size=len(text)) for text, name in ((b"a", "x"), (b"bc", ""))]
    form = ReceivedForm(fields=Fields({}), files={"files": uploads[:1], "files[]": uploads[1:]}, spool=tmp_path)

    async def check() -> None:
        saved = await asyncio.gather(form.save("files", 1), form.save("files", 0))
        assert [path.read_bytes() for path in saved] == [b"bc", b"a"]
        await form.discard()

    form.only((), "files", most=2)
    assert (form.count("files"), form.size("files")) == (2, 3)
    assert (form.name("files", 0), form.name("files", 1)) == ("x", "")
    with pytest.raises(BadParameter, match="given 2 times"):
        form.only((), "files")
    asyncio.run(check())
    assert list(tmp_path.iterdir()) == []


class SlowFile(io.BytesIO):
    """A temporary file that hangs when it is rewound or read, until it may go on."""

    def __init__(self, *, hangs_at: str = "read") -> None:
        super().__init__(b"x" * (3 << 20))
        self.hangs_at = hangs_at
        self.reading = threading.Event()
        self.go_on = threading.Event()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.hang("seek")
        return super().seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        self.hang("read")
        return super().read(size)

    def hang(self, where: str) -> None:
        if where == self.hangs_at:
            self.reading.set()
            self.go_on.wait(5)


def form_of(source: io.BytesIO, spool: Path) -> ReceivedForm:
    return ReceivedForm(fields=Fields({}), files={"file": [UploadFile(source)]}, spool=spool)


async def in_form(form: ReceivedForm, use: Callable[[Path], Coroutine[Any, Any, None]]) -> None:
    try:
        await use(await form.save("file"))
    finally:
        await form.discard()


def test_a_copy_is_there_while_it_is_used(tmp_path: Path) -> None:
    async def use(path: Path) -> None:
        assert path.read_bytes() == b"x" * 5_000_000
        assert path.stat().st_mode & 0o077 == 0

    source = io.BytesIO(b"x" * 5_000_000)
    source.seek(3)  # where the form's parser left it
    asyncio.run(in_form(form_of(source, tmp_path), use))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("hangs_at", "files", "read"), [("seek", 0, 0), ("read", 1, 1 << 20)])
def test_a_cancel_while_copying_leaves_nothing_behind(tmp_path: Path, hangs_at: str, files: int, read: int) -> None:
    source = SlowFile(hangs_at=hangs_at)

    async def check() -> None:
        async def never(_: Path) -> None:
            raise AssertionError("the copy was not done")

        task = asyncio.create_task(in_form(form_of(source, tmp_path), never))
        await asyncio.to_thread(source.reading.wait, 5)
        assert len(list(tmp_path.iterdir())) == files
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()  # and once more, while it waits for the removal
        with pytest.raises(asyncio.CancelledError):
            await task
        source.go_on.set()

    asyncio.run(check())
    assert list(tmp_path.iterdir()) == []
    assert source.tell() == read  # it stopped after the piece it was at


def test_the_loop_turns_while_a_file_is_copied(tmp_path: Path) -> None:
    source = SlowFile()

    async def check() -> None:
        async def use(path: Path) -> None:
            assert path.stat().st_size == 3 << 20

        task = asyncio.create_task(in_form(form_of(source, tmp_path), use))
        began_s = time.monotonic()
        while not source.reading.is_set():
            await asyncio.sleep(0.001)
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert time.monotonic() - began_s < 1
        source.go_on.set()
        await task

    asyncio.run(check())


def test_ten_thousand_parts_are_refused(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path)
    part = b'--b\r\nContent-Disposition: form-data; name="hotwords"\r\n\r\na\r\n'
    with stand.running() as url:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions",
            content=part * 10_000 + b"--b--\r\n",
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    assert answer.status_code == 400
    assert set(json.loads(answer.text)["error"]) == {"message", "type", "param", "code"}
    assert stand.service.paths == []
