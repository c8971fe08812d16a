"""Forms are sent a piece at a time, whole, and readable by others."""

import asyncio
import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartParser

from harken.client.uploads import Form, upload_of
from harken.core import InputError


async def parsed(form: Form) -> Any:
    """What the server's own parser makes of a form."""
    from starlette.datastructures import Headers

    return await MultiPartParser(Headers(form.headers), form.apieces()).parse()


def form_of(audio: Any, **fields: str) -> Form:
    return Form(list(fields.items()), [("file", upload_of(audio))])


def content(form: Form) -> tuple[str, bytes, dict[str, str]]:
    async def read() -> tuple[str, bytes, dict[str, str]]:
        found = await parsed(form)
        try:
            file = found["file"]
            fields = {name: value for name, value in found.items() if name != "file"}
            return file.filename, await file.read(), fields
        finally:
            await found.close()

    return asyncio.run(read())


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_paths_bytes_and_files_arrive_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = tmp_path / "talk.wav"
    path.write_bytes(data)
    assert content(form_of(path, model="tiny")) == ("talk.wav", data, {"model": "tiny"})
    assert content(form_of(str(path))) == ("talk.wav", data, {})
    assert content(form_of(data)) == ("audio", data, {})
    assert content(form_of(memoryview(data))) == ("audio", data, {})
    with path.open("rb") as file:
        assert content(form_of(file)) == ("talk.wav", data, {})


def test_the_length_is_announced_exactly(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(bytes(1234))
    form = Form([("x", "ü")], [("files", upload_of(tmp_path / "a.wav")), ("files", upload_of(b"abc"))])
    assert form.headers["Content-Length"] == str(len(b"".join(form.pieces())))


def test_an_open_file_is_sent_from_where_it_stands_each_time() -> None:
    file = io.BytesIO(b"headaudio")
    file.seek(4)
    form = form_of(file)
    assert content(form)[1] == content(form)[1] == b"audio"
    assert form.repeatable


def test_a_pipe_is_sent_once_without_a_length() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"audio")
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        form = form_of(file)
        assert "Content-Length" not in form.headers
        assert form.repeatable
        assert content(form)[1] == b"audio"
        assert not form.repeatable


@pytest.mark.parametrize(
    ("name", "sent"),
    [('a"b.wav', "a%22b.wav"), ("a\r\nX-Evil: 1.wav", "a%0D%0AX-Evil: 1.wav"), ("übung.wav", "übung.wav")],
)
def test_names_cannot_break_out_of_their_header(tmp_path: Path, name: str, sent: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    head = next(piece for piece in form_of(tmp_path / name).pieces() if b"filename" in piece).decode()
    assert head.count("\r\n") == 4
    _, options = parse_options_header(head.split("Content-Disposition: ")[1].split("\r\n")[0].encode())
    assert options[b"filename"].decode() == sent


def test_a_name_that_is_no_unicode_is_sent_with_marks(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    path.write_bytes(b"x")
    assert b'filename="?.wav"' in b"".join(form_of(path).pieces())


def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    form = form_of(path)
    tracemalloc.start()
    total = sum(len(piece) for piece in form.pieces())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == int(form.headers["Content-Length"])
    assert peak < 2 * 1024 * 1024


def test_a_file_that_grows_or_shrinks_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"12345")
    form = form_of(path)
    path.write_bytes(b"1234567")
    assert len(b"".join(form.pieces())) == int(form.headers["Content-Length"])
    path.write_bytes(b"123")
    with pytest.raises(InputError, match=r"a\.wav became shorter while it was sent"):
        list(form.pieces())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.wav does not exist"):
        upload_of(tmp_path / "absent.wav")
    with pytest.raises(InputError, match="is a folder"):
        upload_of(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        upload_of("a\0b")
    text: Any = io.StringIO("text")
    with pytest.raises(InputError, match="open as text"):
        list(form_of(text).pieces())


def test_a_file_left_in_the_middle_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(1_000_000))
    form = form_of(path)
    pieces = form.pieces()
    for _ in range(3):
        next(pieces)
    opened = form._open
    assert opened is not None
    assert not opened.closed
    form.close()
    assert opened.closed
