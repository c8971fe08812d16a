"""When a request is sent again."""

import random

from harken.client.errors import ConnectionLost, ServerBusy, ServerError, ServerUnreachable

LONGEST_WAIT_S = 30.0
_FIRST_WAIT_S = 0.5


def retry_wait_s(error: ServerError, *, attempt: int, retries: int, harmless_twice: bool = False) -> float | None:
    """Seconds until the request is sent once more, None where that would not help.

    `attempt` counts from 0. A connection that was lost is tried again only by a request that does no harm when the
    server gets it twice: its work may have begun. A server without time says when to come again; one that asks for
    more than `LONGEST_WAIT_S` is taken at its word, and the error raised. Without its word the waits double, with
    jitter so that clients refused together do not return together.
    """
    again = isinstance(error, ServerBusy | ServerUnreachable) or (harmless_twice and isinstance(error, ConnectionLost))
    if attempt >= retries or not again:
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= LONGEST_WAIT_S else None
    longest_s: float = min(LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
    return longest_s * random.uniform(0.5, 1.0)
