"""What a client sees of an error: status, headers, shape; and what it never sees."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Depends
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from harken.core import HarkenError
from harken.http.auth import public
from harken.http.error_responses import whole_seconds
from harken.http.errors import RateExceeded

Build = Callable[..., Any]


def openai_like(status: int, error: HarkenError, request_id: str) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": f"type-{status}", "param": None, "code": request_id}}


@pytest.fixture
def client(build: Build) -> Any:
    with TestClient(build(error_shapes={"/v1/": openai_like, "/v1/inner/": lambda *_: {"inner": 1}}).app) as client:
        yield client


def test_an_unknown_path_and_method_have_the_native_shape(client: TestClient) -> None:
    answer = client.get("/nowhere", headers={"X-Request-ID": "abc"})
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "not_found", "message": "Not Found.", "hint": "", "request_id": "abc"}}
    answer = client.delete("/health")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_validation_is_a_400_that_names_the_field(client: TestClient) -> None:
    answer = client.get("/items/seven")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "input_error"
    assert answer.json()["error"]["message"].startswith("path.number: Input should be a valid integer")


def test_the_longest_prefix_chooses_the_shape(client: TestClient) -> None:
    answer = client.get("/v1/none", headers={"X-Request-ID": "abc"})
    assert answer.json() == {"error": {"message": "Not Found.", "type": "type-404", "param": None, "code": "abc"}}
    assert client.get("/v1/inner/none").json() == {"inner": 1}


def test_an_unexpected_error_tells_the_client_nothing_but_its_id(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = client.get("/raises/unexpected")
    assert answer.status_code == 500
    fields = answer.json()["error"]
    assert fields["code"] == "internal_error"
    assert fields["request_id"] == answer.headers["x-request-id"] != ""
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "the secret detail" in caplog.text
    assert client.get("/health").status_code == 200


def test_a_failure_of_ours_keeps_its_words_for_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/raises/failed")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "run_failed")
    assert "secret" not in answer.text
    assert "/srv/secret/model.onnx" in caplog.text


def test_a_missing_part_keeps_its_words_for_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/raises/missing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "missing_part")
    assert "secret" not in answer.text
    assert "inside" not in answer.text
    assert "postgresql://secret@db.inside/harken is down" in caplog.text


def test_the_words_of_a_failed_gateway_are_not_passed_on(client: TestClient) -> None:
    answer = client.get("/raises/gateway")
    assert answer.status_code == 502
    assert answer.json()["error"]["message"] == "Bad Gateway."
    assert "secret" not in answer.text


def test_retry_after_is_whole_seconds_and_at_least_one(build: Build) -> None:
    service = build()

    @service.app.get("/later/{seconds}", dependencies=[Depends(public)])
    async def later(seconds: float) -> None:
        raise RateExceeded("slower", retry_after_s=seconds)

    with TestClient(service.app) as client:
        given = {seconds: client.get(f"/later/{seconds}").headers["retry-after"] for seconds in ("0.0", "0.2", "7.01")}
    assert given == {"0.0": "1", "0.2": "1", "7.01": "8"}
    assert whole_seconds(float("inf")) == whole_seconds(1e12) == 86_400


def test_a_socket_is_refused_before_accept_with_the_same_answer(build: Build) -> None:
    service = build(error_shapes={"/sock": openai_like})
    service.keys.add()
    with TestClient(service.app) as client:
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/socket"):
            pass
        assert refused.value.status_code == 401
        assert refused.value.headers["www-authenticate"] == "Bearer"
        assert refused.value.json()["error"]["type"] == "type-401"
        with pytest.raises(WebSocketDenialResponse) as absent, client.websocket_connect("/none"):
            pass
        assert absent.value.status_code == 404


def test_an_unexpected_error_on_an_open_socket_closes_it_with_1011(build: Build) -> None:
    with TestClient(build().app) as client, client.websocket_connect("/socket") as socket:
        socket.receive_text()
        socket.send_text("break")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1011, "internal_error")
