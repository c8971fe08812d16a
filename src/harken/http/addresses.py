"""Where a request comes from, when it may have come through proxies."""

import ipaddress
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from harken.core import Strict

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNKNOWN = "unknown"  # a Unix socket, or a test
_MOST_HOPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings(Strict):
    """`trusted`: addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and -Proto are believed."""

    trusted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.networks()

    def networks(self) -> tuple[Network, ...]:
        """`trusted` as networks. Raises ValueError for what is none."""
        try:
            return tuple(ipaddress.ip_network(text) for text in self.trusted)
        except ValueError as err:
            raise ValueError(f"trusted is {list(self.trusted)}; use addresses or networks: {err}") from err


def client_address(connection: HTTPConnection, trusted: tuple[Network, ...]) -> str:
    """The address of the client: the peer's, or, where the peer is a trusted proxy, who that says it is.

    X-Forwarded-For is read from the right, because each proxy appends the address it saw: everything to the left of
    the first address that is no trusted proxy was written by that client, and means nothing.
    """
    peer = connection.client.host if connection.client else UNKNOWN
    address = _parsed(peer)
    if address is None or not _is_trusted(address, trusted):
        return str(address) if address else peer
    hops = [hop.strip() for line in connection.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    for hop in reversed(hops[-_MOST_HOPS:]):
        before = _parsed(hop)
        if before is None:
            break
        address = before
        if not _is_trusted(address, trusted):
            break
    return str(address)


def is_secure(connection: HTTPConnection, trusted: tuple[Network, ...]) -> bool:
    """Whether the client speaks TLS, to us or to a trusted proxy."""
    if connection.scope.get("scheme") in ("https", "wss"):
        return True
    address = _parsed(connection.client.host) if connection.client else None
    told = connection.headers.getlist("x-forwarded-proto")
    return address is not None and _is_trusted(address, trusted) and told[-1:] in (["https"], ["wss"])


def address_group(address: str) -> str:
    """What is limited together: an IPv4 address, or the /64 network that one IPv6 customer has all of."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _is_trusted(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)


def _parsed(text: str) -> Address | None:
    """An address, with or without a port or brackets; IPv4 inside IPv6 as IPv4. None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
