"""Requests to addresses that a client named: only to the public internet, whatever a name, a redirect or a name server
says.

A name is resolved once, every address it has is checked, and the connection goes to the address that was checked, so
that a second answer of the name server (DNS rebinding) is never asked for. Redirects are not followed.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from harken.core import InputError, ServiceRefused, Strict

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class RefusedAddress(InputError):
    """A URL that leads where a client may not send us."""


class NotDelivered(ServiceRefused):
    """The other side could not be reached, or did not answer with success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings(Strict):
    """`private_networks` may be reached all the same, such as that of a cluster; `plain_http` allows http:// too."""

    private_networks: tuple[str, ...] = ()
    plain_http: bool = False
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        for network in self.private_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as err:
                raise ValueError(f"private_networks has {network!r}; use networks such as 10.0.0.0/8") from err
        if not 0 < self.timeout_s <= 120:
            raise ValueError(f"timeout_s is {self.timeout_s}; use seconds above 0, up to 120")


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Outbound:
    """Posts to URLs that clients named."""

    def __init__(self, settings: OutboundSettings, *, resolve: Resolve = resolve_name) -> None:
        self.settings, self._resolve = settings, resolve
        self._allowed = tuple(ipaddress.ip_network(network) for network in settings.private_networks)

    async def check(self, url: str) -> Address:
        """The address a request to `url` goes to. Raises RefusedAddress, which says why."""
        shown, host, port = self._parts(url)
        try:
            found = await asyncio.wait_for(self._resolve(host, port), self.settings.timeout_s)
        except (OSError, UnicodeError, TimeoutError) as err:
            raise RefusedAddress(f"{shown}: the name {host} has no address.", hint="Check the URL.") from err
        addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in found]
        for address in addresses:  # one bad address is enough: which of them is taken is not the client's choice
            if not self._may_reach(address):
                raise RefusedAddress(
                    f"{shown} leads to {address}, which is not on the public internet.",
                    hint="Use a public address, or have the operator add its network to private_networks.",
                )
        if not addresses:
            raise RefusedAddress(f"{shown}: the name {host} has no address.", hint="Check the URL.")
        return addresses[0]

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, 200 to 299. Raises RefusedAddress as `check`, NotDelivered for everything else.

        The answer's body is not read.
        """
        address = await self.check(url)
        shown, host, _ = self._parts(url)
        parts = httpx.URL(url)
        literal = f"[{address}]" if address.version == 6 else str(address)
        sent = {**headers, "Host": parts.netloc.decode("ascii")}
        try:
            async with (
                asyncio.timeout(self.settings.timeout_s),  # that of httpx is for each read: bytes may drip
                httpx.AsyncClient(timeout=self.settings.timeout_s, trust_env=False) as client,
                client.stream(
                    "POST",
                    parts.copy_with(host=literal),
                    content=body,
                    headers=sent,
                    extensions={"sni_hostname": host},
                    follow_redirects=False,
                ) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, TimeoutError) as err:
            raise NotDelivered(f"{shown} could not be reached: {type(err).__name__}.") from err
        if not 200 <= status < 300:
            raise NotDelivered(f"{shown} answered {status}.", hint="Answer with 200; redirects are not followed.")
        return status

    def _parts(self, url: str) -> tuple[str, str, int]:
        """How a URL is shown, its host and its port."""
        schemes = ("https", "http") if self.settings.plain_http else ("https",)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            httpx.URL(url).raw_host.decode("ascii")  # it is stricter, and what connects later
        except (ValueError, httpx.InvalidURL) as err:
            raise RefusedAddress(
                f"{url[:200]!r} is not a URL.", hint="Use one such as https://example.org/hook."
            ) from err
        if parts.scheme not in schemes or not host:
            raise RefusedAddress(
                f"{url[:200]!r} is not a URL of {' or '.join(schemes)}.",
                hint="Use one such as https://example.org/hook.",
            )
        if parts.username is not None or parts.password is not None:
            raise RefusedAddress(f"The URL of {host} holds a user name.", hint="Leave it out; requests are signed.")
        return f"{parts.scheme}://{host}", host, port or (443 if parts.scheme == "https" else 80)

    def _may_reach(self, address: Address) -> bool:
        if isinstance(address, ipaddress.IPv6Address):
            inner = address.ipv4_mapped or address.sixtofour
            if address in _NAT64:
                inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
            if inner is not None:
                return self._may_reach(inner)
        if any(address in network for network in self._allowed if network.version == address.version):
            return True
        return address.is_global and not address.is_multicast
