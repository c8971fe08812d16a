"""Statuses and close codes become errors of the right family, with what the server said."""

import json
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from harken.client import errors
from harken.client.errors import ServerError, answer_error, close_error
from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused


def native(code: str = "queue_full", message: str = "Too much waits.", hint: str = "Come later.") -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "hint": hint, "request_id": "r-9"}}).encode()


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "family"),
    [
        (400, {}, native(), errors.RequestRefused, InputError),
        (404, {}, native(), errors.RequestRefused, InputError),
        (413, {}, native(), errors.RequestRefused, InputError),
        (415, {}, native(), errors.RequestRefused, InputError),
        (401, {}, native(), errors.AccessRefused, ServiceRefused),
        (403, {}, native(), errors.AccessRefused, ServiceRefused),
        (429, {}, native(), errors.ServerBusy, ServiceRefused),
        (503, {"retry-after": "2"}, native(), errors.ServerBusy, ServiceRefused),
        (503, {}, b"<html>no backend</html>", errors.ServerBusy, ServiceRefused),
        (503, {}, native(), errors.ServerIncomplete, MissingPart),
        (500, {}, native(), errors.ServerFailed, RunFailed),
        (502, {}, b"", errors.ServerFailed, RunFailed),
        (307, {"location": "https://elsewhere"}, b"", errors.UnexpectedAnswer, RunFailed),
    ],
)
def test_every_status_has_its_family(
    status: int, headers: dict[str, str], body: bytes, kind: type[ServerError], family: type[HarkenError]
) -> None:
    error = answer_error(status, headers, body)
    assert type(error) is kind
    assert isinstance(error, family)
    assert error.exit_code == family.exit_code
    assert error.status == status


def test_the_servers_words_are_kept() -> None:
    error = answer_error(503, {"retry-after": "7", "x-request-id": "other"}, native())
    assert (error.message, error.hint, error.code, error.request_id, error.retry_after_s) == (
        "Too much waits.", "Come later.", "queue_full", "r-9", 7.0
    )  # fmt: skip
    assert str(error) == "Too much waits. Come later."
    bare = answer_error(502, {"x-request-id": "r-1"}, b"\xff\xfe")
    assert (bare.message, bare.request_id, bare.code) == ("The server answered with status 502.", "r-1", None)


def test_a_server_cannot_write_to_the_terminal_or_flood_it() -> None:
    error = answer_error(400, {}, native(message="a\x1b[31m\r\nb\u202e" + "x" * 9000))
    assert error.message.startswith("a[31m bxxx")
    assert len(error.message) == 500


@pytest.mark.parametrize("body", [b"[]", b'{"error": 3}', b'{"error": null}', b"3", b"null", b""])
def test_bodies_of_others_are_no_errors_of_ours(body: bytes) -> None:
    error = answer_error(418, {}, body)
    assert error.message == "The server answered with status 418."


def test_retry_after_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert answer_error(429, {"retry-after": soon}, b"").retry_after_s == pytest.approx(20, abs=2)
    assert answer_error(429, {"retry-after": "-3"}, b"").retry_after_s == 0
    assert answer_error(429, {"retry-after": "inf"}, b"").retry_after_s is None
    assert answer_error(429, {"retry-after": "soon"}, b"").retry_after_s is None


@pytest.mark.parametrize(
    ("code", "family"),
    [(1001, ServiceRefused), (1007, InputError), (1008, ServiceRefused), (1009, InputError), (1011, RunFailed),
     (1012, ServiceRefused), (1013, ServiceRefused), (1006, RunFailed), (None, RunFailed), (1000, RunFailed)],
)  # fmt: skip
def test_every_close_code_has_its_family(code: int | None, family: type[HarkenError]) -> None:
    error = close_error(code, None)
    assert isinstance(error, family)
    assert error.close_code == code
    told = close_error(code, {"code": "stream_flooded", "message": "Too fast.", "hint": "Slow down."})
    assert (type(told), told.code, str(told)) == (type(error), "stream_flooded", "Too fast. Slow down.")


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(answer_error(429, {"retry-after": "7"}, native())))
    assert (error.status, error.code, error.retry_after_s, str(error)) == (
        429, "queue_full", 7.0, "Too much waits. Come later."
    )  # fmt: skip
