"""Settings of every WebSocket."""

import math
from dataclasses import dataclass

from harken.core import Strict


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSettings(Strict):
    """How long a client may be silent or slow, and how much it may get wrong."""

    message_bytes: int = 1 << 20  # of one message
    idle_s: float = 60.0  # without a message that means anything
    send_s: float = 30.0  # until the client takes a message
    drain_s: float = 60.0  # for the last events, once no more audio comes
    recheck_s: float = 5.0  # between looks at whether the caller's credentials still hold
    bad_messages: int = 3  # in a row, until the socket is closed

    def __post_init__(self) -> None:
        for name in ("message_bytes", "bad_messages"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 or more")
        for name in ("idle_s", "send_s", "drain_s", "recheck_s"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} is {seconds}; use seconds above 0, a finite number")
