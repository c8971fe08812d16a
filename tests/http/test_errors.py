"""Every error has a status and a code."""

import pytest

from harken.audio.limits import AudioDecodeError, AudioLimitError
from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused
from harken.http import errors
from harken.http.errors import Overloaded, code_of, status_of


class QueueFull(Overloaded):
    """A child that the table does not name."""


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError("x"), 400, "input_error"),
        (AudioDecodeError("x"), 415, "audio_decode_error"),
        (AudioLimitError("x"), 413, "audio_limit_error"),
        (errors.NotFound("x"), 404, "not_found"),
        (errors.MethodNotAllowed("x"), 405, "method_not_allowed"),
        (errors.NotAuthenticated("x"), 401, "not_authenticated"),
        (errors.NotAllowed("x"), 403, "not_allowed"),
        (errors.WrongHost("x"), 421, "wrong_host"),
        (errors.BodyTooLarge("x"), 413, "body_too_large"),
        (errors.BodyTooSlow("x"), 408, "body_too_slow"),
        (errors.RateExceeded("x"), 429, "rate_exceeded"),
        (QueueFull("x"), 503, "queue_full"),
        (errors.Draining("x"), 503, "draining"),
        (errors.Unavailable("x"), 503, "unavailable"),
        (ServiceRefused("x"), 403, "service_refused"),
        (MissingPart("x"), 503, "missing_part"),
        (RunFailed("x"), 500, "run_failed"),
        (HarkenError("x"), 500, "harken_error"),
        (ZeroDivisionError(), 500, "internal_error"),
    ],
)
def test_status_and_code(error: Exception, status: int, code: str) -> None:
    assert (status_of(error), code_of(error)) == (status, code)


def test_another_table_may_be_narrower() -> None:
    class Empty(AudioDecodeError): ...

    assert status_of(Empty("x")) == 415
    assert status_of(Empty("x"), {**errors.STATUSES, Empty: 400}) == 400
