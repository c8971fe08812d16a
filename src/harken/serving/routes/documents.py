"""What OpenAPI says of the routes: their forms and every status they answer with."""

from collections.abc import Mapping
from typing import Any

from harken.serving.shapes.native import ErrorView

REFUSALS: Mapping[int, str] = {
    400: "A parameter or the audio is not accepted; the message names it and what is.",
    401: "No credentials, or none that hold.",
    403: "The credentials are not for this.",
    404: "There is no such model.",
    408: "The body came too slowly.",
    409: "The same is being done already.",
    413: "The body is too large, or the audio too long.",
    415: "The file is not audio in a known format.",
    422: "What is named cannot be used.",
    429: "More than this caller may ask for; Retry-After says when to come again.",
    500: "The server failed; its log has the cause under the request id.",
    503: "Not now: the queue is full, the server is shutting down or a part is missing.",
}
AUTHENTICATION = (401, 403, 429)
UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorView, "description": REFUSALS[status]} for status in (500, 503)
}


def refusals(
    *statuses: int, shape: type = ErrorView, example: Mapping[str, Any], told: Mapping[int, str] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for these statuses and those of authentication, 500 and 503. `told` has descriptions
    of its own.
    """
    descriptions = {**REFUSALS, **(told or {})}
    wait = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *AUTHENTICATION, 500, 503}):
        found[status] = {"model": shape, "description": descriptions[status]}
        if status == 400:
            found[status]["content"] = {"application/json": {"example": dict(example)}}
        if status in (429, 503):
            found[status]["headers"] = wait
        if status == 401:
            found[status]["headers"] = {"WWW-Authenticate": {"description": "How to.", "schema": {"type": "string"}}}
    return found


def multipart(properties: Mapping[str, Mapping[str, Any]], *, required: tuple[str, ...]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads a form by itself, so that it is read with limits and off the loop."""
    schema = {
        "type": "object",
        "properties": {name: dict(fields) for name, fields in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def text_field(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def list_field(description: str, **items: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", **items}, "description": description}


FILE_FIELD = {"type": "string", "format": "binary", "description": "The audio: WAV, FLAC, MP3, Ogg, MP4, WebM ..."}
