"""TLS with bounds that uvicorn does not have: sockets count from the moment they connect, and a handshake has an end.

Servers of asyncio make a protocol known to us once its handshake is done; until then a client that says nothing is
nobody's, and 60 seconds are its own. So the server listens without TLS, and this begins it on each connection.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from typing import Any, cast

from harken.core import InputError
from harken.serving.connections import Door

_GOODBYE_S = 2  # for the last words of TLS, once a connection is closed


def tls_context(certificate: str, key: str, password: str | None) -> ssl.SSLContext:
    """What a server shows of itself. Raises InputError for files that cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Asked for a password, OpenSSL would turn to the terminal.
        context.load_cert_chain(certificate, key, password=lambda: password or "")
    except OSError as err:  # ssl.SSLError is one
        raise InputError(
            f"tls: {err.strerror or err}.", hint="Check certificate, key and key_password; both files are PEM."
        ) from err
    return context


class TlsEntrance(SSLProtocol):
    """A connection that begins with TLS, and goes on as `inner`.

    asyncio's own state machine, which both event loops take as a protocol like any other: `loop.start_tls` cannot be
    used here, as uvloop may read the client's first words before that has begun.
    """

    max_size = 65_536  # bytes of a connection's buffer

    def __init__(self, context: ssl.SSLContext, door: Door, inner: asyncio.Protocol, connections: set[Any]) -> None:
        """`connections` are those that uvicorn shuts down at its end."""
        super().__init__(
            asyncio.get_running_loop(),
            inner,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=door.settings.header_s,  # type: ignore[arg-type]
            ssl_shutdown_timeout=_GOODBYE_S,
        )
        self._door, self._connections = door, connections
        self._secure: asyncio.Transport = self._get_app_transport()  # type: ignore[attr-defined]  # that of `inner`
        self._plain: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        if not self._door.enter(plain):
            plain.abort()  # nothing can be said to it before the handshake
            return
        self._plain = plain
        self._connections.add(self)
        self._door.change(plain, self._secure)  # as which `inner` enters
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.discard(self)
        self._door.leave(self._secure)  # where the handshake failed; else `inner` does so
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends. Who has shaken hands is told by `inner`, whose turn comes too."""
        if self._plain is not None and self._secure.get_extra_info("ssl_object") is None:
            self._plain.abort()
