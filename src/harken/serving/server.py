"""Runs the server: one process, one event loop, an orderly end."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from harken.core import MissingPart
from harken.http.drain import Drain
from harken.serving.app import create_app
from harken.serving.background import background
from harken.serving.garbage import keep_still
from harken.serving.protocols import bounded_protocols
from harken.serving.settings import ServeSettings
from harken.serving.tls import tls_context

_BACKLOG = 2048
_OTHER_FILES = 256  # models, the database, workers, logs
_MESSAGE_BYTES = 1 << 20  # of a WebSocket; more ends it with 1009
_STOPS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


def serve(settings: ServeSettings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is open within `settings.drain_s`; a second signal ends it now.

    `on_ready` is called with the URL once connections are taken. Raises as `create_app` and its lifespan do,
    MissingPart for an address that cannot be listened on, InputError for TLS files that cannot be used.
    """
    app = create_app(settings)
    _allow_files(settings.connections.connections)
    with _listening(settings) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(app, settings, listener, on_ready))


async def _run(
    app: FastAPI, settings: ServeSettings, listener: socket.socket, on_ready: Callable[[str], None] | None
) -> None:
    async with app.router.lifespan_context(app):  # here, not in uvicorn, so that its errors are raised
        server = _Server(_config(app, settings))
        still = background("a still collector", keep_still(lambda: _has_model(app)))
        async with still, _stopping(server, app.state.drain, settings.drain_s):
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            if server.started and on_ready is not None:
                on_ready(_url(settings, listener))
            await serving


def _has_model(app: FastAPI) -> bool:
    return any(model.loaded for model in app.state.server.catalog.list())


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would close sockets before their streams have said their last words."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    tls = settings.tls
    context = None if tls is None else tls_context(str(tls.certificate), str(tls.key), tls.key_password)
    http, ws = bounded_protocols(settings.connections, context)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # ours know which proxies to believe
        http=http,
        ws=ws,
        ws_max_size=_MESSAGE_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=None,  # the pong of a client that sends fast is behind its own audio
        ws_per_message_deflate=False,  # audio does not compress, and each socket would hold a dictionary
        timeout_graceful_shutdown=2,
        backlog=_BACKLOG,
    )


@asynccontextmanager
async def _stopping(server: uvicorn.Server, drain: Drain, drain_s: float) -> AsyncIterator[None]:
    """The first signal begins the end: not ready, no new work, what is open is finished. The second one ends it now."""
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[None]] = set()

    async def end() -> None:
        drain.begin()
        logger.info("stopping: open requests %d, open sockets %d", drain.open_requests, drain.open_sockets)
        if not await drain.wait_until_idle(drain_s):
            logger.warning("cut off: requests %d, sockets %d", drain.open_requests, drain.open_sockets)
        server.should_exit = True

    def stop() -> None:
        if ending:
            server.should_exit = server.force_exit = True
            return
        ending.add(asyncio.ensure_future(end()))

    for number in _STOPS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


def _allow_files(connections: int) -> None:
    """Raise this process's limit of open files to what so many connections may take; the system's own is often 1024."""
    if sys.platform == "win32":
        return
    import resource

    needed = 2 * connections + _OTHER_FILES  # an upload has a file beside its connection
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        logger.warning("%d files may be open, and %d connections may need %d: raise ulimit -n, or lower "
                       "connections.connections", allowed, connections, needed)  # fmt: skip


def _listening(settings: ServeSettings) -> socket.socket:
    """A socket that is bound already, so that an address in use is known before a model is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            stack.pop_all()
    except OSError as err:
        raise MissingPart(
            f"{settings.host}:{settings.port} cannot be listened on: {err.strerror or err}.",
            hint="Choose another --host or --port.",
        ) from err
    return listener


def _url(settings: ServeSettings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.tls is None else 'https'}://{host}:{listener.getsockname()[1]}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one: it answers with less CPU time."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
