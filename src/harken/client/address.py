"""Where a server is, and what a client shows it."""

import math
from dataclasses import dataclass, field
from importlib.metadata import version
from urllib.parse import urlsplit

from harken.core import Strict

CONNECT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress(Strict):
    """A server's address and the key for it, which no repr shows.

    `url` is http or https, with the path of the server if it is not at the root. `timeout_s` is the longest wait for an
    answer once the request is sent. `retries` is how often a request is sent again that the server had no time for, or
    that found no connection.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 600.0
    retries: int = 2

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key):
            raise ValueError("api_key is empty or holds characters no key has; use the key as it was given to you")
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise ValueError(f"timeout_s is {self.timeout_s}; use seconds above 0")
        if self.retries < 0:
            raise ValueError(f"retries is {self.retries}; use 0 or more")

    def at(self, path: str) -> str:
        return self.url.rstrip("/") + path

    def socket_at(self, path: str) -> str:
        return "ws" + self.at(path).removeprefix("http")

    @property
    def headers(self) -> dict[str, str]:
        known = {"User-Agent": f"harken/{version('harken')}"}
        return known | {"Authorization": f"Bearer {self.api_key}"} if self.api_key is not None else known

    def without_key(self, text: str) -> str:
        """`text` as it may be shown: a server that repeats the key does not get it into our errors."""
        return text if self.api_key is None else text.replace(self.api_key, "[key]")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right, parts = False, urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url holds a user name or password; use the address alone, and api_key for the key")
    if not right or parts.query or parts.fragment:
        raise ValueError(f"url is {url!r}; use the server's address, such as http://127.0.0.1:8000")
