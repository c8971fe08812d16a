"""Where clients put their keys."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from harken.http.credentials import accepted_protocol, credential_of
from harken.http.errors import NotAuthenticated

Headers = list[tuple[str, str]]


def _connection(headers: Headers, protocols: list[str] | None = None, **scope: Any) -> HTTPConnection:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    kind = "http" if protocols is None else "websocket"
    return HTTPConnection({"type": kind, "headers": raw, "subprotocols": protocols or [], **scope})


@pytest.mark.parametrize(
    ("headers", "protocols", "credential"),
    [
        ([], None, None),
        ([("authorization", "Bearer X")], None, "X"),
        ([("authorization", "bearer  X ")], None, "X"),
        ([("authorization", "Token X")], None, "X"),
        ([("x-api-key", "X")], None, "X"),
        ([("authorization", "Bearer X"), ("x-api-key", "X")], None, "X"),
        ([], ["token", "X"], "X"),
        ([], ["bearer", "X"], "X"),
        ([], ["realtime", "openai-insecure-api-key.X", "openai-beta.realtime-v1"], "X"),
        ([], ["harken-key.X"], "X"),
        ([], ["token"], None),
        ([], ["chat", "superchat"], None),
    ],
)
def test_a_credential_is_found(headers: Headers, protocols: list[str] | None, credential: str | None) -> None:
    assert credential_of(_connection(headers, protocols)) == credential


def test_subprotocols_and_queries_of_plain_requests_are_none() -> None:
    connection = _connection([], None, subprotocols=["token", "X"], query_string=b"token=X&key=X")
    assert credential_of(connection) is None


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [
        ([("authorization", "Basic X")], None),
        ([("authorization", "Bearer")], None),
        ([("authorization", "Bearer ")], None),
        ([("authorization", "")], None),
        ([("authorization", "X")], None),
        ([("authorization", "Bearer X"), ("authorization", "Bearer Y")], None),
        ([("authorization", "Bearer X"), ("x-api-key", "Y")], None),
        ([("x-api-key", "")], None),
        ([("x-api-key", "\xe9")], None),
        ([("x-api-key", "X" * 8193)], None),
        ([], ["token", "X", "harken-key.Y"]),
        ([], ["harken-key."]),
    ],
)
def test_what_cannot_be_read_is_refused(headers: Headers, protocols: list[str] | None) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        credential_of(_connection(headers, protocols))
    assert refused.value.given


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [
        ([], None),
        (["token", "X"], "token"),
        (["realtime", "openai-insecure-api-key.X"], "realtime"),
        (["openai-insecure-api-key.X", "realtime"], "realtime"),
        (["harken-key.X", "harken"], "harken"),
        (["harken-key.X"], None),
    ],
)
def test_a_key_is_never_sent_back(offered: list[str], accepted: str | None) -> None:
    assert accepted_protocol(offered) == accepted
