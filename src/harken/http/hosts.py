"""Which names a server answers to: its own, so that a page on the internet cannot reach it under a name of theirs.

A server that is open and listens on this machine only is still within reach of every page that its user looks at: the
page's own name, once its name server says 127.0.0.1, makes the browser take the two for one place (DNS rebinding). The
Host header then holds the page's name.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from harken.http.error_responses import send_error
from harken.http.errors import WrongHost

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::\d{0,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNames:
    """`names` are answered to, without regard to ports; anything else is refused while `enforced` says so."""

    names: frozenset[str]
    enforced: Callable[[], bool]

    def know(self, host: str | None) -> bool:
        """Whether a Host header names this server."""
        name = None if host is None else host_name(host)
        return name is not None and name in self.names


def host_name(host: str) -> str | None:
    """The name in a Host header as it is compared: without port, brackets and the dot of the root, in small letters,
    an address in its shortest form. None for what is not a host.
    """
    found = _HOST.fullmatch(host)
    name = found[1].removeprefix("[").removesuffix("]") if found else host
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.removesuffix(".").lower() or None if found else None


class HostGate:
    """Refuses requests, and WebSockets before they are accepted, that were meant for another name (421)."""

    def __init__(self, app: ASGIApp, hosts: HostNames) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and self.hosts.enforced():
            given = Headers(scope=scope).getlist("host")
            if len(given) != 1 or not self.hosts.know(given[0]):
                error = WrongHost(
                    "This server is not called what the Host header says.",
                    hint="Ask for it as localhost, or list the name under hosts in its settings.",
                )
                await send_error(error, scope, receive, send)
                return
        await self.app(scope, receive, send)
