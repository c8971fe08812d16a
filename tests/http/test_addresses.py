"""Whose address counts when there are proxies."""

import pytest
from starlette.requests import HTTPConnection

from harken.http.addresses import ProxySettings, address_group, client_address, is_secure

TRUSTED = ProxySettings(trusted=("10.0.0.0/8", "127.0.0.1", "fd00::/8")).networks()


def _connection(peer: str | None, *forwarded: str, proto: str = "", scheme: str = "http") -> HTTPConnection:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    headers += [(b"x-forwarded-proto", proto.encode())] if proto else []
    client = (peer, 1234) if peer else None
    return HTTPConnection({"type": "http", "headers": headers, "client": client, "scheme": scheme})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # no proxy of ours: its word means nothing
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # the left one was written by the client
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),  # two headers are one list
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("testclient", ["198.51.100.1"], "testclient"),
        (None, [], "unknown"),
    ],
)
def test_the_first_address_from_the_right_that_is_not_ours(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert client_address(_connection(peer, *forwarded), TRUSTED) == address


def test_a_long_list_is_read_from_its_end_only() -> None:
    hops = ", ".join(["1.1.1.1", *["10.0.0.2"] * 10_000])
    assert client_address(_connection("10.0.0.1", hops), TRUSTED) == "10.0.0.2"


def test_tls_is_believed_of_trusted_proxies_only() -> None:
    assert is_secure(_connection("203.0.113.7", scheme="https"), ())
    assert is_secure(_connection("10.0.0.1", proto="https"), TRUSTED)
    assert not is_secure(_connection("203.0.113.7", proto="https"), TRUSTED)
    assert not is_secure(_connection("10.0.0.1", proto="http"), TRUSTED)


def test_one_ipv6_customer_is_one_caller() -> None:
    assert address_group("2001:db8:1:2:3:4:5:6") == address_group("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert address_group("203.0.113.7") == "203.0.113.7"


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="trusted is \\['proxy'\\]; use addresses"):
        ProxySettings(trusted=("proxy",))
