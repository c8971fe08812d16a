"""Forms: what is one, how much of it there may be, and what is left of it on disk."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends
from starlette.requests import Request
from starlette.testclient import TestClient

from harken.http import forms
from harken.http.auth import public
from harken.http.bodies import BodySettings
from harken.http.forms import FormLimits, FormRoom, TooManyForms, read_form

Build = Callable[..., Any]
Serve = Callable[..., Any]
FORM = "multipart/form-data; boundary=x"
FILE = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
TEXT = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
LIMITS = FormLimits(files=2, fields=3, field_bytes=100, text_bytes=250)


class Stand:
    """A service with a route that reads forms, and what it found."""

    def __init__(self, build: Build, folder: Path, limits: FormLimits = LIMITS, **settings: Any) -> None:
        self.app = build(bodies=BodySettings(**settings)).app
        self.folder = folder
        self.found: list[tuple[dict[str, list[str]], dict[str, list[bytes]]]] = []
        self.names: list[str] = []
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

        @self.app.post("/form", dependencies=[Depends(public)])
        async def form(request: Request) -> int:
            async with read_form(request, folder, limits) as read:
                files = {name: [file.path.read_bytes() for file in given] for name, given in read.files.items()}
                self.found.append((dict(read.texts), files))
                for file in (file for given in read.files.values() for file in given):
                    assert (file.path.parent, file.path.stat().st_mode & 0o077) == (folder, 0)
                    assert file.size == file.path.stat().st_size
                    self.names.append(file.filename)
                self.inside.set()
                await asyncio.to_thread(self.go_on.wait, 10)
            return 1

    @property
    def room(self) -> FormRoom:
        room: FormRoom = self.app.state.forms
        return room

    def refusal(self, content: bytes, *, kind: str = FORM, status: int = 400) -> str:
        """The message to a form that is refused, of which nothing is left."""
        with TestClient(self.app) as client:
            answer = client.post("/form", content=content, headers={"Content-Type": kind} if kind else {})
        assert answer.status_code == status, answer.text
        assert (self.left(), self.room.forms, self.room.bytes) == ([], 0, 0)
        return str(answer.json()["error"]["message"])

    def left(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]


@pytest.fixture
def stand(build: Build, tmp_path: Path) -> Stand:
    return Stand(build, tmp_path)


def test_a_form_is_read_in_its_order_and_its_files_are_gone_after_it(stand: Stand) -> None:
    big = bytes(range(256)) * 8000
    content = (
        FILE % (b"file", b"../../x.wav", big) + TEXT % (b"many", b"1") + TEXT % (b"many", "\u0437 2".encode())
        + FILE % (b"file", b"", b"") + b"--x--\r\n"
    )  # fmt: skip
    with TestClient(stand.app) as client:
        assert client.post("/form", content=content, headers={"Content-Type": FORM}).json() == 1
    assert stand.found == [({"many": ["1", "\u0437 2"]}, {"file": [big, b""]})]
    assert stand.names == ["../../x.wav", ""]
    assert (stand.left(), stand.room.forms, stand.room.bytes) == ([], 0, 0)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_however_a_body_is_cut_it_is_the_same_form(stand: Stand, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_PENDING_BYTES", 16)
    content = FILE % (b"a", b"n", b"one\r\n--y two") + TEXT % (b"t", b"three") + FILE % (b"b", b"m", b"") + b"--x--"
    pieces = [content[at : at + piece] for at in range(0, len(content), piece)]
    with TestClient(stand.app) as client:
        assert client.post("/form", content=iter(pieces), headers={"Content-Type": FORM}).json() == 1
    assert stand.found == [({"t": ["three"]}, {"a": [b"one\r\n--y two"], "b": [b""]})]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", "", "The Content-Type is ''."),
        (b"{}", "application/json", "The Content-Type is 'application/json'."),
        (b"a=1", "application/x-www-form-urlencoded", "The Content-Type is 'application/x-www-form-urlencoded'."),
        (b"abc", "multipart/form-data", "The Content-Type names no boundary."),
        (b"abc", f"multipart/form-data; boundary={'x' * 1000}", "The form cannot be read."),
        (b"abc", FORM, "The form cannot be read."),
        (b"--x\r\n\r\nvalue\r\n--x--", FORM, "A part of the form has no name."),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n--x--", FORM, "A part of the form has no name."),
        (TEXT % (b"a", b"\xff") + b"--x--", FORM, "A text field is not UTF-8."),
        (TEXT % (b"\xff", b"a") + b"--x--", FORM, "A text field is not UTF-8."),
        ((FILE % (b"a", b"b", b"half"))[:-2], FORM, "The form ends within a part."),
        ((FILE % (b"a", b"b", b"half"))[:30], FORM, "The form ends within a part."),
        (TEXT % (b"a", b"x" * 101) + b"--x--", FORM, "A text field has more than 100 B."),
        (TEXT % (b"a", b"x" * 90) * 3 + b"--x--", FORM, "The text fields have more than 250 B together."),
        (TEXT % (b"a" * 251, b"x") + b"--x--", FORM, "The text fields have more than 250 B together."),
        (TEXT % (b"a", b"v") * 10_000 + b"--x--", FORM, "Too many fields: the form has more than 3."),
        (FILE % (b"a", b"b", b"v") * 10_000 + b"--x--", FORM, "Too many files: the form has more than 2."),
        (TEXT % (b"a", b"v") * 4 + b"--x--", FORM, "Too many fields: the form has more than 3."),
        (FILE % (b"a", b"b", b"v") * 3 + b"--x--", FORM, "Too many files: the form has more than 2."),
    ],
)
def test_what_is_no_form_or_too_much_of_one(stand: Stand, content: bytes, kind: str, message: str) -> None:
    assert stand.refusal(content, kind=kind) == message
    assert stand.found == []


def test_a_name_is_kept_short(stand: Stand) -> None:
    content = FILE % (b"a", b"x" * 3000 + b"\xff.wav", b"v") + b"--x--"
    with TestClient(stand.app) as client:
        assert client.post("/form", content=content, headers={"Content-Type": FORM}).status_code == 200
    assert stand.names == ["x" * 250 + "\ufffd.wav"]


def test_files_that_do_not_fit_beside_the_others(build: Build, tmp_path: Path) -> None:
    stand = Stand(build, tmp_path, form_bytes=1000)
    assert stand.refusal(FILE % (b"a", b"b", b"v" * 1001) + b"--x--", status=503).startswith("The uploads under way")
    with TestClient(stand.app) as client:
        content = FILE % (b"a", b"b", b"v" * 1000) + b"--x--"
        assert client.post("/form", content=content, headers={"Content-Type": FORM}).status_code == 200


def test_one_form_too_many_is_told_when_to_come_again(build: Build, serve: Serve, tmp_path: Path) -> None:
    stand = Stand(build, tmp_path, forms=1)
    content = FILE % (b"a", b"b", b"v") + b"--x--"
    stand.go_on.clear()
    with serve(stand.app) as port, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{port}/form"
        first = pool.submit(httpx.post, url, content=content, headers={"Content-Type": FORM})
        assert stand.inside.wait(5)
        second = httpx.post(url, content=content, headers={"Content-Type": FORM})
        assert (second.status_code, second.json()["error"]["code"]) == (503, "too_many_forms")
        assert int(second.headers["retry-after"]) >= 1
        stand.go_on.set()
        assert first.result().status_code == 200
        assert httpx.post(url, content=content, headers={"Content-Type": FORM}).status_code == 200


def test_a_client_who_leaves_leaves_no_file(build: Build, serve: Serve, tmp_path: Path) -> None:
    stand = Stand(build, tmp_path)
    with serve(stand.app) as port, httpx.Client() as client:

        def leaves() -> Any:
            yield FILE % (b"a", b"b", b"v" * 1_000_000)
            while not stand.left():
                pass
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            client.post(f"http://127.0.0.1:{port}/form", content=leaves(), headers={"Content-Type": FORM})
        for _ in range(500):
            if not stand.left() and not stand.room.forms:
                break
            threading.Event().wait(0.01)
    assert (stand.left(), stand.room.forms, stand.found) == ([], 0, [])


def test_a_disk_that_takes_no_more_is_a_503(build: Build, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    stand = Stand(build, gone)
    with TestClient(stand.app) as client:
        content = FILE % (b"a", b"b", b"v") + b"--x--"
        answer = client.post("/form", content=content, headers={"Content-Type": FORM})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert str(gone) not in answer.text


def test_two_cancels_while_a_file_is_written_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread cannot be stopped: what removes the file waits for it, and comes after it."""
    writing, go_on = threading.Event(), threading.Event()
    write = forms._private

    def slow(path: str, flags: int) -> int:
        opened = write(path, flags)
        writing.set()
        go_on.wait(5)
        return opened

    monkeypatch.setattr(forms, "_private", slow)
    room = FormRoom(BodySettings())

    async def check() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": FILE % (b"a", b"b", b"v" * 300_000) + b"--x--", "more_body": False}

        scope = {"type": "http", "headers": [(b"content-type", FORM.encode())], "app": type("", (), {})()}
        scope["app"].state = type("", (), {"forms": room})()  # type: ignore[attr-defined]

        async def read() -> None:
            async with read_form(Request(scope, receive), tmp_path, LIMITS):
                raise AssertionError("the form was not read")

        task = asyncio.create_task(read())
        await asyncio.to_thread(writing.wait, 5)
        assert len(list(tmp_path.iterdir())) == 1
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0.05)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(check())
    assert list(tmp_path.iterdir()) == []
    assert (room.forms, room.bytes) == (0, 0)


def test_a_room_counts_what_is_taken_and_given_back() -> None:
    room = FormRoom(BodySettings(forms=2, form_bytes=100))
    with room.share() as one, room.share() as other:
        one.take(60)
        other.take(40)
        with pytest.raises(TooManyForms):
            other.take(1)
        with pytest.raises(TooManyForms), room.share():
            pass
        assert (room.forms, room.bytes) == (2, 100)
    assert (room.forms, room.bytes) == (0, 0)
