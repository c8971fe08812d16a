"""Bodies that are too large, too slow, too many parts or lie about their length, and names of files: cases 15 to 18,
and 35.
"""

import re
import time
from pathlib import Path

import httpx
import pytest
from tests.serving.faults.raw_bodies import BOUNDARY, NAMES, chunk, form, head, part
from tests.serving.faults.server_process import MIB, NATIVE, PATHS, Answer, ServerProcess, check_refusal
from tests.serving.faults.sounds import recording

LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ |Harken listens|Try it|    ")


def closes(answer: Answer) -> bool:
    return answer.headers.get("connection") == "close"


@pytest.mark.parametrize("path", PATHS)
def test_a_chunked_body_is_refused_while_it_is_read(server: ServerProcess, path: str) -> None:
    """It has no end: the answer does not wait for one. The limit is 2 MiB."""
    start = part("file", b"", file="a.wav")[:-2]
    with server.growth_below(32 * MIB):
        began_s = time.monotonic()
        answer = server.send_raw(
            head(path, "Transfer-Encoding: chunked"), chunk(start), *[chunk(bytes(64 * 1024))] * 40
        )
        took_s = time.monotonic() - began_s
    check_refusal(answer, path, 413, "body_too_large")
    assert closes(answer)
    assert took_s < 4
    assert not server.left_over()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("length", "status", "code"),
    [
        ("3000000", 413, "body_too_large"),
        ("99999999999999999", 413, "body_too_large"),
        ("-5", 400, ""),
        ("99999999999999999999999999", 400, ""),
        ("12abc", 400, ""),
        ("5, 6", 400, ""),
    ],
)
def test_a_length_that_cannot_be_is_refused_unread(
    server: ServerProcess, path: str, length: str, status: int, code: str
) -> None:
    """What is no HTTP at all is refused by the HTTP parser, before there is a path whose shape could be used."""
    with server.growth_below(16 * MIB):
        began_s = time.monotonic()
        answer = server.send_raw(head(path, f"Content-Length: {length}"))
        took_s = time.monotonic() - began_s
    if code:
        check_refusal(answer, path, status, code)
    assert (answer.status, closes(answer)) == (status, True)
    assert took_s < 4


@pytest.mark.parametrize("path", PATHS)
def test_two_lengths_are_refused(server: ServerProcess, path: str) -> None:
    answer = server.send_raw(head(path, "Content-Length: 5", "Content-Length: 6"), b"12345")
    assert (answer.status, closes(answer)) == (400, True)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("file", [None, "a.wav"])
def test_ten_thousand_parts_are_refused(server: ServerProcess, path: str, file: str | None) -> None:
    body = b"".join(part(f"f{n}", b"x", file=file) for n in range(10_000)) + f"--{BOUNDARY}--\r\n".encode()
    with server.growth_below(48 * MIB):
        answer = server.send_raw(head(path, f"Content-Length: {len(body)}"), body)
    message = check_refusal(answer, path, 400, "input_error")
    assert "Too many" in message
    assert server.audit(answer.headers["x-request-id"])["status"] == 400


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_does_not_come_is_given_up(server: ServerProcess, path: str) -> None:
    """Nothing comes for the second that is allowed."""
    began_s = time.monotonic()
    answer = server.send_raw(head(path, "Content-Length: 1000"), part("file", b"RIFF", file="a.wav"))
    took_s = time.monotonic() - began_s
    check_refusal(answer, path, 408, "body_too_slow")
    assert closes(answer)
    assert 0.9 < took_s < 5
    assert server.audit(answer.headers["x-request-id"])["status"] == 408


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", NAMES)
def test_a_name_of_a_file_is_only_a_name(server: ServerProcess, path: str, kind: str) -> None:
    logged = len(server.log())
    body = form(path, recording(), NAMES[kind])
    answer = server.send_raw(head(path, f"Content-Length: {len(body)}"), body)
    if kind in ("NUL", "7,000 letters") and answer.status == 400:  # the form's parser: control characters, 4 kB
        check_refusal(answer, path, 400, "input_error")
    else:
        assert (answer.status, set(answer.json()) >= {"text"}) == (200, True)
    assert "set-cookie" not in answer.headers
    assert not list(server.folder.rglob("*escaped*"))
    assert not Path("/tmp/harken-escaped.wav").exists()
    check_lines(server.log()[logged:])


@pytest.mark.parametrize("path", PATHS)
def test_a_line_break_in_a_name_makes_no_line_of_the_log(server: ServerProcess, path: str) -> None:
    """Raw CR and LF inside the header of a part, as only an attacker sends them, and in a field that errors quote."""
    logged = len(server.log())
    forged = "2026-01-01T00:00:00Z INFO harken.access forged"
    body = form(path, recording(), f"a\r\n{forged}.wav")
    answer = server.send_raw(head(path, f"Content-Length: {len(body)}"), body)
    assert answer.status in (200, 400)
    quoted = server.post(path, recording(), model=f"x\r\n{forged}")
    assert quoted.status_code == 404
    check_refusal(quoted, path, 404, "unknown_model" if path == NATIVE else "model_not_found",
                  param=None if path == NATIVE else "model")  # fmt: skip
    unknown = httpx.get(f"{server.url}/%0d%0a{forged.replace(' ', '%20')}", timeout=10)
    assert unknown.status_code == 404
    lines = check_lines(server.log()[logged:])
    assert not [line for line in lines if line.startswith(forged)]


def test_names_are_shown_as_one_line_in_the_results_of_a_batch(server: ServerProcess) -> None:
    files = [("files", (name, recording())) for name in ("../../etc/passwd", "a\r\nb.wav", "..\\x\\c.wav")]
    answer = httpx.post(f"{server.url}/transcribe/batch", files=files, data={"mode": "now"}, timeout=60)
    assert answer.status_code == 200
    names = [found["name"] for found in answer.json()["results"]]
    assert (names[0], names[2]) == ("passwd", "c.wav")
    assert all(name.isprintable() for name in names)


def check_lines(log: str) -> list[str]:
    lines = log.splitlines()
    assert [line for line in lines if not LINE.match(line)] == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log)
    return lines
