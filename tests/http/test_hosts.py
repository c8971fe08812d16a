"""Names a server answers to."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from harken.core import HarkenError
from harken.http.hosts import HostNames, host_name

Build = Callable[..., Any]
NAMES = HostNames(names=frozenset({"localhost", "127.0.0.1", "::1", "asr.example.com"}), enforced=lambda: True)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8000", "localhost"),
        ("localhost.:8000", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]:8000", "::1"),
        ("::1", "::1"),
        ("asr.example.com:443", "asr.example.com"),
        ("evil.example.com:localhost", None),
        ("localhost:1:2", None),
        ("localhost]", None),
        ("user@localhost", "user@localhost"),
        (":8000", None),
        ("", None),
    ],
)
def test_a_host_header_is_compared_by_its_name(host: str, name: str | None) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:9", 200),
        ("asr.example.com", 200),
        ("rebound.example.com", 421),
        ("localhost.example.com", 421),
        ("127.0.0.1.example.com", 421),
        ("user@localhost", 421),
        ("", 421),
    ],
)
def test_a_request_for_another_name_is_refused(build: Build, host: str, status: int) -> None:
    with TestClient(build(hosts=NAMES).app) as client:
        answer = client.get("/health", headers={"Host": host})
    assert answer.status_code == status
    if status == 421:
        assert answer.json()["error"]["code"] == "wrong_host"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"]


def test_two_names_are_none(build: Build) -> None:
    with TestClient(build(hosts=NAMES).app) as client:
        answer = client.get("/health", headers=[("Host", "localhost"), ("Host", "evil.example.com")])
    assert answer.status_code == 421


def test_a_preflight_is_refused_too_and_no_route_runs(build: Build) -> None:
    service = build(hosts=NAMES)
    with TestClient(service.app) as client:
        asked = {"Origin": "http://evil.example.com", "Access-Control-Request-Method": "POST", "Host": "evil"}
        assert client.options("/form", headers=asked).status_code == 421
        assert client.post("/form", data={"a": "b"}, headers={"Host": "evil"}).status_code == 421
    assert service.seen == []


def test_the_answer_has_the_shape_of_its_path(build: Build) -> None:
    def shape(status: int, error: HarkenError, request_id: str) -> dict[str, Any]:
        return {"told": [status, error.message]}

    with TestClient(build(hosts=NAMES, error_shapes={"/v1/": shape}).app) as client:
        answer = client.post("/v1/body", content=b"x", headers={"Host": "evil.example.com"})
    assert answer.json() == {"told": [421, "This server is not called what the Host header says."]}


def test_a_socket_for_another_name_is_refused_before_it_is_accepted(build: Build) -> None:
    with TestClient(build(hosts=NAMES).app) as client:
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect("/socket", headers={"Host": "rebound.example.com"}),
        ):
            pass
        assert refused.value.status_code == 421
        assert json.loads(refused.value.content)["error"]["code"] == "wrong_host"
        with client.websocket_connect("/socket", headers={"Host": "localhost"}) as socket:
            assert socket.receive_text().startswith("anonymous")


def test_it_is_asked_each_time_whether_names_matter(build: Build) -> None:
    enforced = [False]
    names = HostNames(names=NAMES.names, enforced=lambda: enforced[0])
    with TestClient(build(hosts=names).app) as client:
        assert client.get("/health", headers={"Host": "evil"}).status_code == 200
        enforced[0] = True
        assert client.get("/health", headers={"Host": "evil"}).status_code == 421
