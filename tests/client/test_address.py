"""Addresses that can be one, and keys that are not shown."""

import pytest

from harken.client.address import ServerAddress


def test_paths_are_joined_below_the_address() -> None:
    here = ServerAddress(url="http://127.0.0.1:8000")
    assert here.at("/transcribe") == "http://127.0.0.1:8000/transcribe"
    assert here.socket_at("/ws/transcribe") == "ws://127.0.0.1:8000/ws/transcribe"
    below = ServerAddress(url="https://host/asr/")
    assert below.at("/health") == "https://host/asr/health"
    assert below.socket_at("/ws/transcribe") == "wss://host/asr/ws/transcribe"


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host?x=1", "http://host#x", "http://host:99999", "http://[::1"]
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"url is .*; use the server's address"):
        ServerAddress(url=url)


def test_a_secret_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="url holds a user name or password") as caught:
        ServerAddress(url="http://me:hush@host")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a\nb", "käse", "a\x00"])
def test_what_is_no_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="api_key is empty or holds characters no key has") as caught:
        ServerAddress(url="http://host", api_key=key)
    assert not key or key not in str(caught.value)


def test_settings_out_of_range() -> None:
    for timeout_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout_s is"):
            ServerAddress(url="http://host", timeout_s=timeout_s)
    with pytest.raises(ValueError, match="retries is -1; use 0 or more"):
        ServerAddress(url="http://host", retries=-1)


def test_the_key_is_in_the_header_and_nowhere_else() -> None:
    address = ServerAddress(url="http://host", api_key="hk_1_hush")
    assert address.headers["Authorization"] == "Bearer hk_1_hush"
    assert "hush" not in repr(address)
    assert address.without_key("no key hk_1_hush here") == "no key [key] here"
    assert "Authorization" not in ServerAddress(url="http://host").headers
