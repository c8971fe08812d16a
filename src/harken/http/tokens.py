"""JSON Web Tokens as credentials: signed with a shared secret, a key pair, or by an identity provider (JWKS)."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from harken.core import InputError, Strict
from harken.http.errors import NotAuthenticated
from harken.http.jwks import SMALLEST_RSA_BITS, RemoteKeys, check_url
from harken.http.principals import SCOPES, Principal, check_scopes

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "oct": ("HS256", "HS384", "HS512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
ALGORITHMS = tuple(name for names in FAMILIES.values() for name in names)
_KEY_TYPES: Mapping[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_SHORTEST_SECRET = 32  # bytes: RFC 7518 section 3.2 for HS256
_LONGEST_TOKEN = 8192  # characters
_LONGEST_SUBJECT = 190  # so that audit rows have room for it


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings(Strict):
    """Which tokens are believed. Exactly one of `secret`, `public_key` (PEM text or a file) and `jwks_url` is given.

    `algorithms` are those accepted, whatever a token says: HS* with a secret, RS*, PS*, ES* or EdDSA with public keys.
    `audience` has to be in the token's `aud`; `issuer`, if given, has to be its `iss`. `leeway_s` (0 to 300) is how
    far clocks may differ. Scopes are read from the first of `scope_claims` that the token has, else `default_scopes`.
    """

    algorithms: tuple[str, ...]
    audience: str
    secret: str | None = field(default=None, repr=False)
    public_key: str | None = None
    jwks_url: str | None = None
    issuer: str | None = None
    leeway_s: int = 30
    scope_claims: tuple[str, ...] = ("scope", "scp")
    default_scopes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.algorithms if name not in ALGORITHMS]
        if unknown or not self.algorithms:
            raise ValueError(f"algorithms is {list(self.algorithms)}; use some of {', '.join(ALGORITHMS)}")
        sources = [name for name in ("secret", "public_key", "jwks_url") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"{' and '.join(sources) or 'no key'} given; use one of secret, public_key and jwks_url")
        symmetric = {name in FAMILIES["oct"] for name in self.algorithms}
        if symmetric != {self.secret is not None}:
            raise ValueError(
                f"algorithms is {list(self.algorithms)} with {sources[0]}; use HS* with a secret, the others without"
            )
        if self.secret is not None and len(self.secret.encode()) < _SHORTEST_SECRET:
            raise ValueError(f"secret has {len(self.secret.encode())} bytes; use {_SHORTEST_SECRET} or more")
        if self.jwks_url is not None:
            check_url(self.jwks_url)
        if not self.audience:
            raise ValueError("audience is empty; use the name by which tokens mean this server")
        if not 0 <= self.leeway_s <= 300:
            raise ValueError(f"leeway_s is {self.leeway_s}; use 0 to 300")
        check_scopes(self.default_scopes, what="default_scopes")


class TokenVerifier:
    """Checks tokens against `settings`. Signatures take 20 to 200 microseconds, so they are checked in place."""

    def __init__(
        self,
        settings: JwtSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._remote = (
            RemoteKeys(settings.jwks_url, transport=transport, clock=monotonic) if settings.jwks_url else None
        )
        self._key = None if self._remote else _own_key(settings)
        self._registry = _Registry(algorithms=settings.algorithms, strict_check_header=False)
        claims: dict[str, jwt.ClaimsOption] = {
            "exp": {"essential": True},
            "sub": {"essential": True},
            "aud": {"essential": True, "value": settings.audience},
        }
        if settings.issuer is not None:
            claims["iss"] = {"essential": True, "value": settings.issuer}
        self._claims = jwt.JWTClaimsRegistry(now=lambda: int(clock()), leeway=settings.leeway_s, **claims)

    async def verify(self, token: str) -> Principal:
        """Who the token speaks for. Raises NotAuthenticated, and Unavailable where keys cannot be fetched."""
        key = self._key or await self._keys_for(token)
        try:
            decoded = jwt.decode(token, key, registry=self._registry)
            self._claims.validate(decoded.claims)
        except ExpiredTokenError as err:
            raise NotAuthenticated("The token has expired.", hint="Get a new one.") from err
        except MissingClaimError as err:
            raise NotAuthenticated("The token lacks a claim that is needed.", hint=str(err.description)) from err
        except InvalidClaimError as err:
            raise NotAuthenticated(f"The token is not for this server or not for now ({err.claim}).") from err
        except UnsupportedAlgorithmError as err:
            raise NotAuthenticated("The token is signed in a way that is not accepted.") from err
        except (JoseError, ValueError, TypeError, RecursionError) as err:
            raise NotAuthenticated("The token does not hold.") from err
        return self._principal(decoded.claims)

    async def close(self) -> None:
        if self._remote is not None:
            await self._remote.close()

    async def _keys_for(self, token: str) -> KeySet:
        header = _header(token)
        if header.get("alg") not in self._settings.algorithms:  # before a fetch, which a forged token must not cause
            raise NotAuthenticated("The token is signed in a way that is not accepted.")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise NotAuthenticated("The token does not hold.")
        assert self._remote is not None
        return await self._remote.keys_for(kid)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        subject = claims["sub"]
        if not 1 <= len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
            raise NotAuthenticated("The token's subject is too long, or not readable.")
        scopes = self._scopes(claims)
        until_s = claims["exp"] + self._settings.leeway_s
        return Principal(id=f"jwt:{subject}", name=subject, kind="jwt", scopes=scopes, until_s=until_s)

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Those that exist here; a token for several services has others too."""
        for name in self._settings.scope_claims:
            value = claims.get(name)
            if value is not None:
                listed = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
                return frozenset(scope for scope in listed if scope in SCOPES)
        return frozenset(self._settings.default_scopes)


class _Registry(JWSRegistry):
    """Only what the settings name, without joserfc's warning about EdDSA: the operator chose it by name."""

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError(f"{name!r} is not accepted")
        return self.algorithms[name]


def looks_like_token(credential: str) -> bool:
    return credential.count(".") == 2 and len(credential) <= _LONGEST_TOKEN


def _header(token: str) -> Mapping[str, Any]:
    part = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError) as err:
        raise NotAuthenticated("The token does not hold.") from err
    if not isinstance(header, dict):
        raise NotAuthenticated("The token does not hold.")
    return header


def _own_key(settings: JwtSettings) -> OctKey | RSAKey | ECKey | OKPKey:
    """The secret or the public key of the settings. Raises InputError for a key that does not fit the algorithms."""
    if settings.secret is not None:
        return OctKey.import_key(settings.secret)
    pem = _pem(settings.public_key or "")
    kinds = {kind for kind, names in FAMILIES.items() if set(names) & set(settings.algorithms)}
    if len(kinds) != 1:
        raise InputError(
            f"public_key is one key, but algorithms is {list(settings.algorithms)}.", hint="Name those of its kind."
        )
    if "PRIVATE KEY" in pem:
        raise InputError("public_key is a private key.", hint="Give the public one; keep this one to who signs.")
    kind = kinds.pop()
    try:
        raw = load_pem_public_key(pem.encode())
        if isinstance(raw, RSAPublicKey) and raw.key_size < SMALLEST_RSA_BITS:
            raise InputError(f"public_key has {raw.key_size} bits.", hint=f"Use {SMALLEST_RSA_BITS} or more.")
        key: RSAKey | ECKey | OKPKey = _KEY_TYPES[kind].import_key(pem)
    except (JoseError, ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise InputError(f"public_key is no {kind} key in PEM.", hint="Check it against algorithms.") from err
    return key


def _pem(text: str) -> str:
    if text.lstrip().startswith("-----BEGIN"):
        return text
    try:
        return Path(text).read_text(encoding="ascii")
    except (OSError, ValueError) as err:
        raise InputError(f"public_key {text!r} cannot be read: {err}.", hint="Give PEM text, or a file of it.") from err
