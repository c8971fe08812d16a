"""Requests to addresses that clients name: never to a private one, whatever name, redirect or name server says so."""

import asyncio
import contextlib
import http.server
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from harken.http.outbound import NotDelivered, Outbound, OutboundSettings, RefusedAddress, resolve_name

HOOK = "http://hooks.test:{port}/done?x=1"


class Names:
    """A name server whose answers change: one for each time it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@contextmanager
def listening(
    status: int = 200, location: str | None = None
) -> Iterator[tuple[int, list[tuple[str, dict[str, str], bytes]]]]:
    """A server on a loopback port, and what it was sent."""
    seen: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers), body))
            self.send_response(status)
            if location is not None:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1], seen
        finally:
            server.shutdown()
            thread.join()


def open_to_loopback(names: Names) -> Outbound:
    settings = OutboundSettings(private_networks=("127.0.0.0/8",), plain_http=True, timeout_s=2.0)
    return Outbound(settings, resolve=names)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "198.18.0.1", "192.0.2.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused_by_name_and_by_number(address: str) -> None:
    outbound = Outbound(OutboundSettings(), resolve=Names([address]))
    with pytest.raises(RefusedAddress, match="not on the public internet"):
        asyncio.run(outbound.check("https://hooks.test/"))
    literal = f"[{address}]" if ":" in address else address
    by_system = Outbound(OutboundSettings(), resolve=resolve_name)
    with pytest.raises(RefusedAddress, match="not on the public internet"):
        asyncio.run(by_system.check(f"https://{literal}/"))


@pytest.mark.parametrize("url", ["https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://localhost/"])
def test_other_ways_to_write_loopback_are_refused(url: str) -> None:
    with pytest.raises(RefusedAddress):
        asyncio.run(Outbound(OutboundSettings()).check(url))


def test_one_private_address_among_public_ones_is_enough() -> None:
    outbound = Outbound(OutboundSettings(), resolve=Names(["8.8.8.8", "10.0.0.1"]))
    with pytest.raises(RefusedAddress, match=r"10\.0\.0\.1"):
        asyncio.run(outbound.check("https://hooks.test/"))
    assert (
        str(asyncio.run(Outbound(OutboundSettings(), resolve=Names(["8.8.8.8"])).check("https://a.test"))) == "8.8.8.8"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://1.1.1.1/\x01",
        "https://a.test:99999/",
        "http://a.test/",
        "ftp://a.test/",
        "file:///etc/passwd",
        "https://",
        "gopher://a",
        "a.test",
        "https://[::1",
        "",
    ],
)
def test_only_https_with_a_host_is_taken(url: str) -> None:
    with pytest.raises(RefusedAddress):
        asyncio.run(Outbound(OutboundSettings(), resolve=Names(["8.8.8.8"])).check(url))


def test_a_url_with_a_password_is_refused_and_never_shown() -> None:
    with pytest.raises(RefusedAddress) as caught:
        asyncio.run(Outbound(OutboundSettings(), resolve=Names(["8.8.8.8"])).check("https://me:hunter2@a.test/"))
    assert "hunter2" not in str(caught.value)


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """A name that leads to a public address first and to loopback later (DNS rebinding)."""
    names = Names(["127.0.0.1"], ["127.9.9.9"])
    with listening() as (port, seen):
        assert asyncio.run(open_to_loopback(names).post(HOOK.format(port=port), b"{}", {"X-A": "b"})) == 200
    assert names.asked == 1
    path, headers, body = seen[0]
    assert (path, headers["Host"], headers["X-A"], body) == ("/done?x=1", f"hooks.test:{port}", "b", b"{}")


def test_a_redirect_is_not_followed() -> None:
    with (
        listening() as (target, reached),
        listening(302, f"http://127.0.0.1:{target}/") as (port, seen),
        pytest.raises(NotDelivered, match="answered 302"),
    ):
        asyncio.run(open_to_loopback(Names(["127.0.0.1"])).post(HOOK.format(port=port), b"{}", {}))
    assert len(seen) == 1
    assert reached == []


def test_failures_are_not_delivered() -> None:
    outbound = open_to_loopback(Names(["127.0.0.1"]))
    with listening(500) as (port, _), pytest.raises(NotDelivered, match="answered 500"):
        asyncio.run(outbound.post(HOOK.format(port=port), b"{}", {}))
    with pytest.raises(NotDelivered, match="could not be reached: ConnectError"):
        asyncio.run(outbound.post(HOOK.format(port=port), b"{}", {}))


def test_an_answer_that_drips_is_not_waited_for() -> None:
    async def main() -> float:
        over = asyncio.Event()

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()
            over.set()

        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = OutboundSettings(private_networks=("127.0.0.0/8",), plain_http=True, timeout_s=0.3)
            began_s = time.monotonic()
            with pytest.raises(NotDelivered, match="TimeoutError"):
                await Outbound(settings, resolve=Names(["127.0.0.1"])).post(HOOK.format(port=port), b"{}", {})
            took_s = time.monotonic() - began_s
            await over.wait()
            return took_s

    assert asyncio.run(main()) < 1.0


def test_a_name_without_an_address_is_refused() -> None:
    async def nothing(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(RefusedAddress, match=r"nowhere\.test has no address"):
        asyncio.run(Outbound(OutboundSettings(), resolve=nothing).check("https://nowhere.test/"))


@pytest.mark.parametrize("settings", [{"private_networks": ("10.0.0.0/33",)}, {"timeout_s": 0}, {"timeout_s": 999}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        OutboundSettings(**settings)  # type: ignore[arg-type]
