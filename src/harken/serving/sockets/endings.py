"""How a conversation ends: with which close code, and what is said and done before."""

import logging
from dataclasses import dataclass

from harken.core import HarkenError, InputError, MissingPart, RunFailed
from harken.http.error_responses import told_of
from harken.http.errors import NotAllowed, NotAuthenticated, Overloaded, RateExceeded, code_of
from harken.serving.errors import StreamFlooded

NORMAL, GOING_AWAY, BAD_DATA, POLICY, TOO_LARGE, OUR_FAULT, RESTART, TRY_LATER = (
    1000, 1001, 1007, 1008, 1009, 1011, 1012, 1013,
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """`code` None: the client has left, nothing can be sent. `drain`: the stream's last events are told first."""

    code: int | None
    reason: str = ""
    error: HarkenError | None = None
    drain: bool = False


class Gone(Exception):  # noqa: N818  not an error: somebody left
    """The client has left, or does not take what is sent."""


def ending_of(error: HarkenError) -> Ending:
    """The ending that an error makes. Its words are told where they are about the client."""
    if isinstance(error, MissingPart | RunFailed):
        logger.warning("a WebSocket could not be served: %s", error)
    if isinstance(error, StreamFlooded | RateExceeded | NotAllowed | NotAuthenticated):
        code = POLICY
    elif isinstance(error, Overloaded):
        code = TRY_LATER
    else:
        code = BAD_DATA if isinstance(error, InputError) else OUR_FAULT
    return Ending(code=code, reason=code_of(error), error=told_of(error))
