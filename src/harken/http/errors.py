"""Errors that only a service raises, and the status and code of every error Harken raises on purpose."""

import re
from collections.abc import Mapping

from harken.audio.limits import AudioDecodeError, AudioLimitError
from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused


class NotFound(InputError):
    """What was asked for is not there (404)."""


class MethodNotAllowed(InputError):
    """The path is there, but not for this method (405)."""


class NotAuthenticated(ServiceRefused):
    """No credentials, or none that hold (401). `given` says whether there were any."""

    def __init__(self, message: str, *, hint: str = "", given: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.given = given


class NotAllowed(ServiceRefused):
    """The credentials hold, but not for this (403)."""


class WrongHost(ServiceRefused):
    """The request was meant for a server of another name (421)."""


class BodyTooLarge(ServiceRefused):
    """More bytes than a request may have (413)."""


class BodyTooSlow(ServiceRefused):
    """The body of the request did not come in time (408)."""


class Overloaded(ServiceRefused):
    """Nothing is wrong with the request, but not now (503). `retry_after_s` is when to come again."""

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class RateExceeded(Overloaded):
    """More than this caller may ask for (429)."""


class Draining(Overloaded):
    """The process is shutting down (503)."""


class Unavailable(Overloaded):
    """A service this one depends on does not answer (503)."""


class InternalError(RunFailed):
    """What a caller is told of a failure nobody foresaw (500); the cause is in the log only."""


STATUSES: Mapping[type[HarkenError], int] = {
    AudioLimitError: 413,
    AudioDecodeError: 415,
    NotFound: 404,
    MethodNotAllowed: 405,
    InputError: 400,
    NotAuthenticated: 401,
    NotAllowed: 403,
    WrongHost: 421,
    BodyTooLarge: 413,
    BodyTooSlow: 408,
    RateExceeded: 429,
    Overloaded: 503,
    ServiceRefused: 403,
    MissingPart: 503,
    RunFailed: 500,
}


def status_of(error: BaseException, statuses: Mapping[type[HarkenError], int] = STATUSES) -> int:
    """The HTTP status of an error: that of its nearest ancestor in `statuses`, 500 for what is not in it."""
    return next((statuses[kind] for kind in type(error).__mro__ if kind in statuses), 500)


def code_of(error: BaseException) -> str:
    """The name of an error for programs: its class in snake_case; `internal_error` for what was not foreseen."""
    if not isinstance(error, HarkenError):
        return "internal_error"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
