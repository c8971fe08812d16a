"""Who may do what: the one place that decides. Routes name the scope they need, and never check anything themselves."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import httpx
from fastapi import FastAPI
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import RouteContext, iter_route_contexts
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Mount

from harken.core import Strict
from harken.http.addresses import Network, address_group, client_address
from harken.http.cached_keys import CachedKeys
from harken.http.credentials import credential_of
from harken.http.errors import NotAllowed, NotAuthenticated, Unavailable
from harken.http.keys import PREFIX, KeyStore, holds, split_key
from harken.http.limits import Limiter
from harken.http.principals import SCOPES, Principal
from harken.http.tokens import JwtSettings, TokenVerifier, looks_like_token

__all__ = [
    "SCOPES",
    "AuthSettings",
    "Authenticator",
    "Principal",
    "Requires",
    "policy_of",
    "public",
    "require_policies",
    "requires",
]

_OPEN_CHECK_S = 5.0  # how soon the first key closes an open server
_KNOWN_S = 0.2  # longest wait for the store where it was open a moment ago


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings(Strict):
    """Who is let in. `auto`: everybody, until there is a key or `jwt`; `required`: credentials always; `off`: all."""

    mode: Literal["auto", "required", "off"] = "auto"
    jwt: JwtSettings | None = None

    def __post_init__(self) -> None:
        if self.mode == "off" and self.jwt is not None:
            raise ValueError("mode is 'off' with jwt; use 'required', or leave jwt out")


class Authenticator:
    """Finds out who a request is from. `start` it before the first one, `close` it after the last."""

    def __init__(
        self,
        settings: AuthSettings,
        *,
        keys: KeyStore,
        limiter: Limiter,
        trusted_proxies: tuple[Network, ...] = (),
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._keys = CachedKeys(keys, clock=monotonic)
        self._limiter = limiter
        self._trusted = trusted_proxies
        self._clock = clock
        self._monotonic = monotonic
        self._tokens = (
            TokenVerifier(settings.jwt, transport=transport, clock=clock, monotonic=monotonic) if settings.jwt else None
        )
        self._open = settings.mode == "off"
        self._looked_s: float | None = None

    async def start(self) -> None:
        """Find out whether the server is open. Raises Unavailable where the keys cannot be read."""
        await self._look_for_keys()

    async def close(self) -> None:
        await self._keys.close()
        if self._tokens is not None:
            await self._tokens.close()

    def is_open(self) -> bool:
        """Whether requests without credentials are let in, as far as is known; ask after `start`."""
        return self._open

    async def identify(self, connection: HTTPConnection) -> Principal:
        """Who a request or WebSocket is from.

        Raises NotAuthenticated, RateExceeded for an address that failed too often, Unavailable where nobody can say.
        """
        if self.settings.mode == "off":
            return self._anyone(connection)
        await self._look_for_keys()
        if self._open:  # whatever is sent: clients of OpenAI and Deepgram always send some key
            return self._anyone(connection)
        address = client_address(connection, self._trusted)
        try:
            credential = credential_of(connection)
            if credential is None:
                raise NotAuthenticated(
                    "Credentials are needed here.", hint="Send `Authorization: Bearer` and your key.", given=False
                )
            return await self._principal(credential, address)
        except NotAuthenticated as error:
            if error.given:
                if not await self._limiter.may_fail(address):
                    raise await self._limiter.too_many_failures(address) from error
                await self._limiter.count_failure(address)
            raise

    async def still_holds(self, principal: Principal) -> bool:
        """Whether who was let in would be let in now, at most seconds out of date: for connections that stay open.
        While the keys cannot be read, a key holds."""
        if principal.kind == "jwt":
            return principal.until_s is None or self._clock() < principal.until_s
        try:
            if principal.kind == "anonymous":
                await self._look_for_keys()
                return self._open
            record = await self._keys.find(principal.id.removeprefix("key:"))
        except Unavailable:
            return True
        return record is not None and record.is_valid(self._clock())

    async def _principal(self, credential: str, address: str) -> Principal:
        if credential.startswith(PREFIX):
            return await self._principal_of_key(credential, address)
        if self._tokens is not None and looks_like_token(credential):
            return await self._tokens.verify(credential)
        raise NotAuthenticated("The credentials are no key of this server.")

    async def _principal_of_key(self, key: str, address: str) -> Principal:
        parts = split_key(key)
        if parts is None:
            raise NotAuthenticated("The key is not complete.")
        key_id, secret = parts
        # Who tries many keys gets no more look-ups, but a key that was good is not shut out by a neighbour behind
        # the same address.
        if not self._keys.remembers(key_id) and not await self._limiter.may_fail(address):
            raise await self._limiter.too_many_failures(address)
        record = await self._keys.find(key_id)
        if not holds(record, secret) or record is None:
            raise NotAuthenticated("The key does not hold.")
        now_s = self._clock()
        if not record.is_valid(now_s):
            word = "has expired" if record.revoked_s is None else "was revoked"
            raise NotAuthenticated(f"The key {word}.", hint="Get a new one.")
        self._keys.mark_used(record, now_s)
        return record.principal()

    def _anyone(self, connection: HTTPConnection) -> Principal:
        where = address_group(client_address(connection, self._trusted))
        return Principal(id=f"anonymous@{where}", name="anonymous", kind="anonymous", scopes=frozenset(SCOPES))

    async def _look_for_keys(self) -> None:
        """Close the server once there is a key; it never opens again, so that revoking the last one opens nothing."""
        if self.settings.mode != "auto" or self._tokens is not None:
            return
        if self._looked_s is not None and (not self._open or self._monotonic() - self._looked_s < _OPEN_CHECK_S):
            return
        try:
            self._open = not await self._keys.has_any(within_s=None if self._looked_s is None else _KNOWN_S)
        except Unavailable:
            if self._looked_s is None:  # nothing is known yet, so nobody is let in
                raise
        self._looked_s = self._monotonic()


class Requires(SecurityBase):
    """A dependency of a route: lets in who has `scope`, within their rate. Gives the `Principal`.

    Found in the app's state: `authenticator` and `limiter`. Routes that use it must not declare `Form`, `File` or
    `Body` parameters, because FastAPI reads the whole body before it asks any dependency: read it in the route.
    """

    def __init__(self, scope: str) -> None:
        if scope not in SCOPES:
            raise ValueError(f"scope is {scope!r}; use one of {', '.join(SCOPES)}")
        self.scope = scope
        self.scheme_name = "key"
        self.model = HTTPBearer(description=f"An API key (`{PREFIX}...`) or a JSON Web Token.")

    async def __call__(self, connection: HTTPConnection) -> Principal:
        authenticator: Authenticator = connection.app.state.authenticator
        limiter: Limiter = connection.app.state.limiter
        principal = await authenticator.identify(connection)
        connection.state.principal = principal
        await limiter.check_rate(principal)
        if self.scope not in principal.scopes:
            raise NotAllowed(f"{principal.name!r} lacks the scope {self.scope!r}.", hint="Use a key that has it.")
        return principal


@cache  # one object each, so that FastAPI asks it once a request however often a route names it
def requires(scope: str) -> Requires:
    """`principal: Annotated[Principal, Depends(requires("transcribe"))]`."""
    return Requires(scope)


async def public() -> None:
    """Marks a route that everybody may use: `dependencies=[Depends(public)]`."""


def policy_of(route: BaseRoute | RouteContext) -> str | None:
    """The scope a route needs, `public`, or None for one that does not say."""
    found = set(_policies(getattr(route, "dependant", None)))
    if len(found) > 1:
        raise ValueError(f"{getattr(route, 'path', route)} declares {' and '.join(sorted(found))}; use one policy")
    return found.pop() if found else None


def require_policies(app: FastAPI, *, public_mounts: tuple[str, ...] = ()) -> None:
    """Raise ValueError that names every route, WebSocket and mount of `app` that does not declare who may use it.

    A mount has no dependencies; those in `public_mounts` are files for everybody.
    """
    missing = []
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            if route.path not in public_mounts:
                missing.append(f"mount {route.path}")
        elif policy_of(route) is None:
            missing.append(f"{' '.join(sorted(route.methods or ())) or 'WEBSOCKET'} {route.path}")
    if missing:
        raise ValueError(f"no policy declared: {'; '.join(missing)}; use requires(scope) or public")


def _policies(dependant: Any) -> Iterator[str]:
    """What a route's dependencies, and theirs, declare."""
    if dependant is None:
        return
    if isinstance(dependant.call, Requires):
        yield dependant.call.scope
    elif dependant.call is public:
        yield "public"
    for inner in dependant.dependencies:
        yield from _policies(inner)
