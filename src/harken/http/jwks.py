"""The public keys of an identity provider, fetched from its JWKS URL and kept for a while."""

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from harken.http.errors import Unavailable

log = logging.getLogger(__name__)

REFRESH_S = 600.0  # after which the keys are fetched again
KEEP_S = 6 * 3600.0  # for which keys are believed while the provider does not answer
AGAIN_S = 30.0  # shortest time between two fetches, whatever tokens ask for
_TIMEOUT_S = 5.0
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100
_KINDS = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}  # public keys only: a symmetric one in a JWKS is a mistake
_PUBLIC = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
SMALLEST_RSA_BITS = 2048


def check_url(url: str) -> None:
    """Raise ValueError unless `url` is HTTPS, or HTTP to this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise ValueError(f"jwks_url is {url!r}; use an https:// URL")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RemoteKeys:
    """Keys by URL. Known keys are answered from memory; a token with an unknown one may cause one fetch in 30 s."""

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_url(url)
        self._url = url
        self._transport = transport
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_s = -KEEP_S
        self._tried_s = -AGAIN_S
        self._client: httpx.AsyncClient | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def keys_for(self, kid: str | None) -> KeySet:
        """The keys, fetched anew if `kid` is none of them and that is allowed again.

        Raises Unavailable when there are none, or they are too old to be believed.
        """
        age_s = self._clock() - self._fetched_s
        knows = self._keys is not None and (kid is None or any(key.kid == kid for key in self._keys))
        if not knows or age_s >= KEEP_S:
            await self._fetch()
        elif age_s >= REFRESH_S:
            self._begin()  # nobody waits for it: the old keys still hold
        if self._keys is None or self._clock() - self._fetched_s >= KEEP_S:
            raise Unavailable("Tokens cannot be checked now.", hint="Try again.", retry_after_s=AGAIN_S)
        return self._keys

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            with suppress(asyncio.CancelledError):
                await self._fetching
        if self._client is not None:
            await self._client.aclose()

    async def _fetch(self) -> None:
        self._begin()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)

    def _begin(self) -> None:
        running = self._fetching is not None and not self._fetching.done()
        if not running and self._clock() - self._tried_s >= AGAIN_S:
            self._tried_s = self._clock()
            self._fetching = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(2 * _TIMEOUT_S):
                self._keys = read_keys(await self._download())
            self._fetched_s = self._clock()
        except (httpx.HTTPError, OSError, TimeoutError, ValueError) as err:
            log.warning("the keys at %s cannot be had: %s", self._url, err or type(err).__name__)

    async def _download(self) -> bytes:
        if self._client is None:
            # In a thread: reading the certificates of all authorities takes tens of milliseconds.
            self._client = await asyncio.to_thread(
                httpx.AsyncClient, transport=self._transport, timeout=_TIMEOUT_S, follow_redirects=False
            )
        body = b""
        async with self._client.stream("GET", self._url, headers={"Accept": "application/json"}) as response:
            if response.status_code != 200:
                raise ValueError(f"the answer has status {response.status_code}")
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"the answer has more than {_MAX_BYTES} bytes")
        return body


def read_keys(body: bytes) -> KeySet:
    """The public signature keys of a JWKS (RFC 7517); others in it are left out. Raises ValueError if none is left."""
    document = json.loads(body)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the answer is no JWKS: it has no list of keys")
    keys: list[Key] = [key for entry in listed[:_MAX_KEYS] if (key := _read_key(entry)) is not None]
    if not keys:
        raise ValueError("the answer has no public key for signatures")
    return KeySet(keys)


def _read_key(entry: object) -> RSAKey | ECKey | OKPKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kind = _KINDS.get(str(entry.get("kty")))
    if kind is None:
        return None
    if kind is RSAKey and len(str(entry.get("n", ""))) * 6 < SMALLEST_RSA_BITS:
        return None
    public = {name: entry[name] for name in _PUBLIC if name in entry}
    try:
        return kind.import_key(public)  # type: ignore[no-any-return, attr-defined]
    except (JoseError, ValueError, TypeError, KeyError):
        return None
