"""Errors as answers: one place decides the status, the headers and the shape, for HTTP and for WebSockets."""

import logging
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused
from harken.http.errors import (
    STATUSES,
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    RateExceeded,
    code_of,
    status_of,
)
from harken.http.request_ids import request_id_of

log = logging.getLogger(__name__)

ErrorShape = Callable[[int, HarkenError, str], dict[str, Any]]  # status, error, request id -> the body of the answer
_LONGEST_MESSAGE = 2_000  # characters; a message may quote what the client sent
_ERROR_OF_STATUS: Mapping[int, type[HarkenError]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    405: MethodNotAllowed,
    408: BodyTooSlow,
    413: BodyTooLarge,
    429: RateExceeded,
    503: Overloaded,
}


def native_shape(status: int, error: HarkenError, request_id: str) -> dict[str, Any]:
    """The body of Harken's own API."""
    fields = {"code": code_of(error), "message": error.message, "hint": error.hint, "request_id": request_id}
    return {"error": fields}


def install_error_handlers(
    app: FastAPI, shapes: Mapping[str, ErrorShape], statuses: Mapping[type[HarkenError], int] | None = None
) -> None:
    """Answer every error of `app` in the shape of the longest prefix of its path in `shapes`, else in the native one.

    `statuses` adds the statuses of errors this room does not know. Call it before any other middleware is added: what
    goes wrong in those is answered by `send_error`, what goes wrong inside by this.
    """
    app.state.error_shapes = dict(sorted(shapes.items(), key=lambda item: -len(item[0])))
    app.state.error_statuses = {**STATUSES, **(statuses or {})}
    for kind in (HarkenError, HTTPException, RequestValidationError, WebSocketRequestValidationError):
        app.add_exception_handler(kind, _handle)  # type: ignore[arg-type]  # Starlette types HTTP and sockets apart
    app.add_middleware(UnexpectedErrors)


async def _handle(connection: HTTPConnection, error: Exception) -> Response | None:
    if not isinstance(connection, WebSocket):
        return error_response(error, connection.scope)
    if connection.application_state is WebSocketState.CONNECTING:
        await send_error(error, connection.scope, connection.receive, connection.send)
    elif connection.application_state is WebSocketState.CONNECTED:
        shown = told_of(error)
        ours = _status(shown, connection.scope) == 500
        await connection.close(code=1011 if ours else 1008, reason=code_of(shown))
    return None


class UnexpectedErrors:
    """Innermost middleware: an exception nobody foresaw becomes a 500 with the request id, its traceback a log entry.

    Starlette's own handler of such errors sits outside all other middleware, so that its answers would have neither a
    request id nor security headers, nor be counted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        begun = ""  # the first message of the answer

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            lost = not begun and message["type"] == "websocket.close" and "endpoint" not in scope
            begun = begun or message["type"]
            if lost:  # the router's way of saying that there is no such WebSocket
                await send_error(NotFound("Not Found."), scope, receive, send)
            else:
                await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except (ClientDisconnect, WebSocketDisconnect):
            log.info("the client left before its answer")
        except Exception as error:  # noqa: BLE001  the door: whatever comes becomes an answer
            log.error("an unexpected error", exc_info=error)
            if not begun:
                await send_error(error, scope, receive, send)
            elif begun == "websocket.accept":
                await send({"type": "websocket.close", "code": 1011, "reason": "internal_error"})
            else:
                raise  # half an answer: the server cuts the connection, so that nobody takes it for a whole one


async def send_error(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or refuse a WebSocket that is not accepted yet, from anywhere in the middleware."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": code_of(told_of(error))})  # a bare 403
        return
    await error_response(error, scope)(scope, receive, send)


def error_response(error: Exception, scope: Scope) -> Response:
    """Status, headers and body that tell a client of `error`."""
    shown, headers = told_of(error), {}
    status = _status(shown, scope)
    if isinstance(error, HTTPException):
        status, headers = error.status_code, dict(error.headers or {})
    if isinstance(error, RunFailed):
        log.error("a request failed: %s", error, exc_info=error)
    elif isinstance(error, MissingPart):
        log.warning("a request could not be served: %s", error)
    body = _shape(scope)(status, shown, request_id_of(scope))
    return JSONResponse(body, status_code=status, headers=headers | _headers(shown))


def told_of(error: Exception) -> HarkenError:
    """What the outside is told of an error: no traceback, and nothing of a failure of ours but that it happened.

    The words of a part that is missing and of a run that failed are for the log: they name files, machines and
    accounts, and quote libraries.
    """
    if isinstance(error, HTTPException):
        ours = error.status_code >= 500
        kind = _ERROR_OF_STATUS.get(error.status_code, InternalError if ours else InputError)
        words = "" if ours else f"{error.detail}"
        return kind((words or HTTPStatus(error.status_code).phrase).rstrip(".")[:_LONGEST_MESSAGE] + ".")
    if isinstance(error, RequestValidationError | WebSocketRequestValidationError):
        return InputError(_invalid(error), hint="Check the request against the API's description.")
    if isinstance(error, RunFailed):
        return _unworded(error, "The server could not finish this request.", "Try again")
    if isinstance(error, MissingPart):
        return _unworded(error, "The server lacks something that this request needs.", "Try again later")
    if isinstance(error, InputError | ServiceRefused):
        return error
    return told_of(InternalError(""))


def _unworded(error: HarkenError, message: str, advice: str) -> HarkenError:
    """The kind of an error in our words."""
    shown = type(error).__new__(type(error))
    HarkenError.__init__(shown, message, hint=f"{advice}; its log has the cause under the request id.")
    return shown


def _invalid(error: RequestValidationError | WebSocketRequestValidationError) -> str:
    problems = [
        f"{'.'.join(str(step) for step in problem['loc'])}: {problem['msg']}" for problem in error.errors()[:10]
    ]
    return "; ".join(problems)[:_LONGEST_MESSAGE] + "."


def _status(error: HarkenError, scope: Scope) -> int:
    app = scope.get("app")
    return status_of(error, getattr(app.state, "error_statuses", STATUSES) if app else STATUSES)


def _shape(scope: Scope) -> ErrorShape:
    app = scope.get("app")
    shapes: Mapping[str, ErrorShape] = getattr(app.state, "error_shapes", {}) if app else {}
    path = scope.get("path", "")
    return next((shape for prefix, shape in shapes.items() if path.startswith(prefix)), native_shape)


def _headers(error: HarkenError) -> dict[str, str]:
    if isinstance(error, Overloaded):
        return {"Retry-After": str(whole_seconds(error.retry_after_s))}
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": 'Bearer error="invalid_token"' if error.given else "Bearer"}
    if isinstance(error, BodyTooLarge | BodyTooSlow):
        return {"Connection": "close"}
    return {}


def whole_seconds(seconds: float) -> int:
    """Seconds for Retry-After: rounded up, at least 1, at most a day; a day for what is not a number."""
    return max(1, min(86_400, math.ceil(seconds))) if math.isfinite(seconds) else 86_400
