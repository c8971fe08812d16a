"""Errors as OpenAI writes them."""

import pytest

from harken.core import HarkenError, MissingPart
from harken.http.errors import InternalError, NotAllowed, NotAuthenticated, NotFound, Overloaded, RateExceeded
from harken.serving.errors import QueueFull, UnknownModel
from harken.serving.routes.fields import BadParameter, MissingParameter, UnknownParameter
from harken.serving.shapes.openai_errors import openai_error


@pytest.mark.parametrize(
    ("status", "error", "kind", "param", "code"),
    [
        (400, BadParameter("language", "bad", hint="h"), "invalid_request_error", "language", "invalid_value"),
        (400, MissingParameter("model", hint="h"), "invalid_request_error", "model", "missing_required_parameter"),
        (400, UnknownParameter("x", ["y"]), "invalid_request_error", "x", "unknown_parameter"),
        (401, NotAuthenticated("no"), "authentication_error", None, "invalid_api_key"),
        (403, NotAllowed("no"), "permission_error", None, "not_allowed"),
        (404, UnknownModel("no"), "invalid_request_error", "model", "model_not_found"),
        (404, NotFound("no"), "invalid_request_error", None, "not_found"),
        (429, RateExceeded("no"), "rate_limit_error", None, "rate_limit_exceeded"),
        (500, InternalError("no"), "server_error", None, "internal_error"),
        (503, QueueFull("no"), "server_error", None, "queue_full"),
        (503, Overloaded("no"), "server_error", None, "overloaded"),
        (503, MissingPart("no"), "server_error", None, "missing_part"),
    ],
)
def test_fields(status: int, error: HarkenError, kind: str, param: str | None, code: str) -> None:
    body = openai_error(status, error, "r-1")
    assert set(body) == {"error"}
    assert {key: body["error"][key] for key in ("type", "param", "code")} == {
        "type": kind,
        "param": param,
        "code": code,
    }
    assert ("r-1" in body["error"]["message"]) == (status >= 500)
    assert error.message in body["error"]["message"]
    assert error.hint in body["error"]["message"]
