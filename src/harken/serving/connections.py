"""How many connections may be open, in all and for one address."""

import asyncio
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass

from uvicorn.protocols.utils import get_remote_addr

from harken.core import Strict
from harken.http.addresses import UNKNOWN, address_group

LINGER_S = 1.0  # reading on after the last word: a socket closed with bytes unread takes back what it said
_COMPLAINT_EVERY_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings(Strict):
    """Open connections in all and per address, and what a client may take until its request's headers are complete;
    `header_s` bounds a TLS handshake before them too.

    Addresses are those that connect: all clients behind one proxy share its `per_address`. None: no bound per address.
    """

    connections: int = 1024
    per_address: int | None = 256
    header_s: float = 15.0
    header_bytes: int = 65_536

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ValueError(f"connections is {self.connections}; use 1 or more")
        if self.per_address is not None and self.per_address < 1:
            raise ValueError(f"per_address is {self.per_address}; use 1 or more, or nothing for no bound")
        if not (math.isfinite(self.header_s) and self.header_s > 0):
            raise ValueError(f"header_s is {self.header_s}; use seconds above 0")
        if self.header_bytes < 1024:
            raise ValueError(f"header_bytes is {self.header_bytes}; use 1024 or more")


class Door:
    """Who is in. One for both protocols, because a WebSocket goes on with the transport of its HTTP request."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._groups: dict[asyncio.BaseTransport, str] = {}
        self._counts: Counter[str] = Counter()
        self._complained_at = -math.inf

    def enter(self, transport: asyncio.BaseTransport) -> bool:
        """Whether there is room for it, or it is in already; then it counts until it leaves."""
        if transport in self._groups:
            return True
        client = get_remote_addr(transport)  # type: ignore[arg-type]  # it asks for no more than every transport has
        group = address_group(client[0]) if client else UNKNOWN
        most = self.settings.per_address
        if len(self._groups) >= self.settings.connections or (most is not None and self._counts[group] >= most):
            self._complain(group)
            return False
        self._groups[transport] = group
        self._counts[group] += 1
        return True

    def change(self, old: asyncio.BaseTransport, new: asyncio.BaseTransport) -> None:
        """The connection of `old`, where that is in, goes on with `new`."""
        group = self._groups.pop(old, None)
        if group is not None:
            self._groups[new] = group

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """Make room again. A transport that is not in changes nothing."""
        group = self._groups.pop(transport, None)
        if group is not None:
            self._counts[group] -= 1
            if not self._counts[group]:
                del self._counts[group]

    def _complain(self, group: str) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT_EVERY_S:
            self._complained_at = now
            open_now = len(self._groups)
            logger.warning("connections are refused: %d are open, %d from %s", open_now, self._counts[group], group)
