"""Errors in the form OpenAI's API gives them, by which its packages choose their exception classes."""

from typing import Any

from harken.core import HarkenError
from harken.http.errors import NotAuthenticated, NotFound, code_of
from harken.serving.errors import UnknownModel
from harken.serving.routes.fields import BadParameter, MissingParameter, UnknownParameter

_CODES: tuple[tuple[type[HarkenError], str], ...] = (
    (UnknownModel, "model_not_found"),
    (NotAuthenticated, "invalid_api_key"),
    (MissingParameter, "missing_required_parameter"),
    (UnknownParameter, "unknown_parameter"),
    (BadParameter, "invalid_value"),
    (NotFound, "not_found"),
)
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def openai_error(status: int, error: HarkenError, request_id: str) -> dict[str, Any]:
    """The body of a refusal or failure: `message` with its hint, `type`, `param` (a parameter's name) and `code`.

    The request id is in the message of what is the server's fault, as the body has no field for it.
    """
    text = f"{error.message} {error.hint}".strip()
    return {
        "error": {
            "message": f"{text} Request id: {request_id}." if status >= 500 else text,
            "type": "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error"),
            "param": "model" if isinstance(error, UnknownModel) else getattr(error, "parameter", None),
            "code": _code(status, error),
        }
    }


def _code(status: int, error: HarkenError) -> str:
    if status == 429:
        return "rate_limit_exceeded"
    return next((code for kind, code in _CODES if isinstance(error, kind)), code_of(error))
