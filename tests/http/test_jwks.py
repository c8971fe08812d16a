"""Keys of an identity provider: fetched rarely, believed for a while, never trusted too far."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from tests.http.conftest import Clock
from tests.http.test_tokens import GOOD, NOW_S, sign

from harken.http.errors import NotAuthenticated, Unavailable
from harken.http.jwks import KEEP_S, REFRESH_S, RemoteKeys, check_url, read_keys
from harken.http.tokens import JwtSettings, TokenVerifier

OLD, NEW = ECKey.generate_key("P-256", {"kid": "old"}), ECKey.generate_key("P-256", {"kid": "new"})


class Provider(httpx.AsyncBaseTransport):
    """An identity provider in this process."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.answer: Callable[[], httpx.Response] | None = None
        self.delay_s = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.answer is not None:
            return self.answer()
        return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in self.keys]})


def with_provider(test: Callable[[TokenVerifier, Provider, Clock], Coroutine[Any, Any, None]], *keys: Any) -> None:
    async def scenario() -> None:
        provider, clock = Provider(*keys), Clock()
        settings = JwtSettings(algorithms=("ES256",), audience="harken", jwks_url="https://idp.example.com/keys")
        verifier = TokenVerifier(settings, transport=provider, clock=lambda: NOW_S, monotonic=clock)
        try:
            await test(verifier, provider, clock)
        finally:
            await verifier.close()

    asyncio.run(scenario())


def token(key: ECKey, **header: Any) -> str:
    return sign(GOOD, key, "ES256", **{"kid": key.kid, **header})


def test_keys_are_fetched_once_for_many_tokens() -> None:
    async def test(verifier: TokenVerifier, provider: Provider, _clock: Clock) -> None:
        provider.delay_s = 0.02
        principals = await asyncio.gather(*(verifier.verify(token(OLD)) for _ in range(20)))
        assert {principal.id for principal in principals} == {"jwt:anna"}
        await verifier.verify(sign(GOOD, OLD, "ES256"))  # no kid: there is one key
        assert provider.asked == 1

    with_provider(test, OLD)


def test_an_unknown_kid_causes_one_fetch_in_thirty_seconds() -> None:
    async def test(verifier: TokenVerifier, provider: Provider, clock: Clock) -> None:
        await verifier.verify(token(OLD))
        provider.keys.append(NEW)
        for number in range(50):
            with pytest.raises(NotAuthenticated):
                await verifier.verify(token(NEW, kid=f"guess{number}"))
        assert provider.asked == 1
        clock.now_s += 31
        assert (await verifier.verify(token(NEW))).name == "anna"
        assert provider.asked == 2

    with_provider(test, OLD)


def test_a_forged_algorithm_causes_none() -> None:
    async def test(verifier: TokenVerifier, provider: Provider, _clock: Clock) -> None:
        for algorithm in ("none", "HS256"):
            forged = sign(GOOD, OctKey.import_key("s" * 64), "HS256").split(".")[1:]
            head = {"none": "eyJhbGciOiJub25lIn0", "HS256": "eyJhbGciOiJIUzI1NiJ9"}[algorithm]
            with pytest.raises(NotAuthenticated):
                await verifier.verify(".".join([head, *forged]))
        assert provider.asked == 0

    with_provider(test, OLD)


def test_old_keys_hold_while_the_provider_is_away_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    async def test(verifier: TokenVerifier, provider: Provider, clock: Clock) -> None:
        await verifier.verify(token(OLD))
        provider.answer = lambda: httpx.Response(500)
        clock.now_s += REFRESH_S + 1
        await verifier.verify(token(OLD))
        await asyncio.sleep(0.01)
        assert provider.asked == 2  # behind the scenes
        assert "status 500" in caplog.text
        clock.now_s += KEEP_S
        with pytest.raises(Unavailable):
            await verifier.verify(token(OLD))
        provider.answer = None
        clock.now_s += 31
        await verifier.verify(token(OLD))

    with caplog.at_level(logging.WARNING):
        with_provider(test, OLD)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(302, headers={"location": "http://169.254.169.254/"}),
        lambda: httpx.Response(200, json={"keys": [OLD.as_dict(private=False)], "much": "x" * 300_000}),
        lambda: httpx.Response(200, content=b"no json"),
        lambda: httpx.Response(200, json=[1]),
        lambda: httpx.Response(200, json={"keys": []}),
        lambda: httpx.Response(200, json={"keys": [OctKey.import_key("s" * 64).as_dict(private=True)]}),
    ],
)
def test_an_answer_that_is_no_jwks_lets_nobody_in(answer: Callable[[], httpx.Response]) -> None:
    async def test(verifier: TokenVerifier, provider: Provider, _clock: Clock) -> None:
        provider.answer = answer
        for _ in range(3):
            with pytest.raises(Unavailable):
                await verifier.verify(token(OLD))
        assert provider.asked == 1

    with_provider(test)


def test_only_public_keys_for_signatures_are_read() -> None:
    rsa = RSAKey.generate_key(2048)
    listed = [
        OLD.as_dict(private=True),  # a provider that publishes too much: the private part is dropped
        {**NEW.as_dict(private=False), "use": "enc"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "AKP", "kid": "later"},
        {"kty": ["EC"], "kid": "list"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny"},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"},
        "text",
        rsa.as_dict(private=False, kid="rsa"),
    ]
    keys = read_keys(json.dumps({"keys": listed}).encode())
    assert [key.kid for key in keys] == ["old", "rsa"]
    assert not any(key.is_private for key in keys)


@pytest.mark.parametrize(
    "url", ["https://idp.example.com/keys", "http://127.0.0.1:8080/", "http://[::1]/", "http://localhost/"]
)
def test_tls_or_this_machine(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://localhost.evil.com/", "ftp://x/", "https://", ""])
def test_nothing_else(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"jwks_url is {url!r}")):
        RemoteKeys(url)
