"""JSON Web Tokens: which hold, and the many that must not."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from harken.core import InputError
from harken.http.errors import NotAuthenticated
from harken.http.principals import Principal
from harken.http.tokens import ALGORITHMS, FAMILIES, JwtSettings, TokenVerifier, _Registry, looks_like_token

NOW_S = 1_800_000_000
SECRET = "s" * 64
RSA = RSAKey.generate_key(2048)
KEYS: dict[str, Any] = {
    "oct": OctKey.import_key(SECRET),
    "RSA": RSA,
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "ES512": ECKey.generate_key("P-521"),
    "OKP": OKPKey.generate_key("Ed25519"),
}
GOOD = {"sub": "anna", "aud": "harken", "exp": NOW_S + 60, "scope": "transcribe stream other"}


def sign(claims: dict[str, Any], key: Any, algorithm: str, **header: Any) -> str:
    return jwt.encode({"alg": algorithm, **header}, dict(claims), key, registry=_Registry(algorithms=[algorithm]))


def check(token: str, **settings: Any) -> Principal:
    base: dict[str, Any] = {"algorithms": ("HS256",), "audience": "harken"}
    if not {"public_key", "secret"} & set(settings):
        base["secret"] = SECRET
    verifier = TokenVerifier(JwtSettings(**{**base, **settings}), clock=lambda: NOW_S)
    return asyncio.run(verifier.verify(token))


def pem(key: Any) -> str:
    return str(key.as_pem(private=False).decode())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_works(algorithm: str) -> None:
    family = next(name for name, names in FAMILIES.items() if algorithm in names)
    key = KEYS.get(algorithm) or KEYS[family]
    where = {"secret": SECRET} if family == "oct" else {"public_key": pem(key)}
    principal = check(sign(GOOD, key, algorithm), algorithms=(algorithm,), **where)
    assert principal.id == "jwt:anna"
    assert principal.scopes == {"transcribe", "stream"}
    assert (principal.kind, principal.name, principal.until_s) == ("jwt", "anna", NOW_S + 60 + 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exp": NOW_S - 31}, "has expired"),
        ({"exp": None}, "lacks a claim"),
        ({"exp": float("nan")}, "not for this server or not for now"),
        ({"exp": "tomorrow"}, "not for now (exp)"),
        ({"nbf": NOW_S + 31}, "not for now (nbf)"),
        ({"iat": NOW_S + 31}, "not for now (iat)"),
        ({"aud": "another"}, "not for now (aud)"),
        ({"aud": ["another", "third"]}, "not for now (aud)"),
        ({"aud": None}, "lacks a claim"),
        ({"aud": ["harken", 5]}, "not for now (aud)"),
        ({"iss": "https://evil"}, "not for now (iss)"),
        ({"iss": None}, "lacks a claim"),
        ({"sub": None}, "lacks a claim"),
        ({"sub": ""}, "not for now (sub)"),
        ({"sub": 5}, "not for now (sub)"),
        ({"sub": "x" * 191}, "subject is too long"),
        ({"sub": "a\nb"}, "subject is too long"),
    ],
)
def test_a_wrong_claim_is_refused(change: dict[str, Any], message: str) -> None:
    claims = {name: value for name, value in {**GOOD, "iss": "https://us", **change}.items() if value is not None}
    with pytest.raises(NotAuthenticated, match=re.escape(message)):
        check(sign(claims, KEYS["oct"], "HS256"), issuer="https://us")


def test_clocks_may_differ_by_the_leeway() -> None:
    for change in ({"exp": NOW_S - 29}, {"nbf": NOW_S + 29}, {"aud": ["x", "harken"]}):
        assert check(sign({**GOOD, **change}, KEYS["oct"], "HS256")).name == "anna"


def _unsigned(algorithm: str, claims: dict[str, Any], signature: str = "") -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "typ": "JWT"}, claims)]
    return ".".join([base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts] + [signature])


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "HS512", "RS256", "XX", ""])
def test_no_signature_and_other_algorithms_are_refused(algorithm: str) -> None:
    with pytest.raises(NotAuthenticated):
        check(_unsigned(algorithm, GOOD))
    with pytest.raises(NotAuthenticated):
        check(_unsigned(algorithm, GOOD, "AAAA"), algorithms=("RS256",), public_key=pem(RSA))


def test_a_public_key_is_no_secret() -> None:
    """Algorithm confusion: a token signed by HMAC with the public key that everybody has."""
    import hashlib
    import hmac

    head = _unsigned("HS256", GOOD).rpartition(".")[0]
    for stolen in (pem(RSA), pem(RSA).strip(), pem(RSA).replace("\n", "")):
        mac = hmac.new(stolen.encode(), head.encode(), hashlib.sha256).digest()
        forged = f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        with pytest.raises(NotAuthenticated):
            check(forged, algorithms=("RS256", "PS256"), public_key=pem(RSA))


def test_a_changed_token_and_another_key_are_refused() -> None:
    token = sign(GOOD, KEYS["oct"], "HS256")
    head, body, signature = token.split(".")
    other = _unsigned("HS256", {**GOOD, "scope": "admin"}).split(".")[1]
    for forged in (f"{head}.{other}.{signature}", f"{head}.{body}.", sign(GOOD, OctKey.import_key("t" * 64), "HS256")):
        with pytest.raises(NotAuthenticated):
            check(forged)
    for key in ("ES384", "OKP"):
        wrong = {"ES384": "ES384", "OKP": "EdDSA"}[key]
        with pytest.raises(NotAuthenticated):
            check(sign(GOOD, KEYS[key], wrong), algorithms=("ES256",), public_key=pem(KEYS["ES256"]))


def test_keys_inside_a_token_are_not_believed() -> None:
    stranger = RSAKey.generate_key(2048)
    token = sign(GOOD, stranger, "RS256", jwk=stranger.as_dict(private=False))
    with pytest.raises(NotAuthenticated):
        check(token, algorithms=("RS256",), public_key=pem(RSA))


@pytest.mark.parametrize(
    "text", ["a.b.c", "..", "é.é.é", "e30.e30.e30", "W10.W10.W10", "bnVsbA.bnVsbA.x", "[" * 4000 + ".a.b"]
)
def test_rubbish_is_refused(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        check(text)


def test_a_critical_header_nobody_knows_is_refused() -> None:
    body = _unsigned("HS256", GOOD).split(".")[1]
    header = (
        base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "crit": ["x"], "x": 1}).encode()).rstrip(b"=").decode()
    )
    import hashlib
    import hmac

    mac = hmac.new(SECRET.encode(), f"{header}.{body}".encode(), hashlib.sha256).digest()
    with pytest.raises(NotAuthenticated):
        check(f"{header}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_scopes_come_from_the_first_claim_there_is() -> None:
    def scopes(claims: dict[str, Any], **settings: Any) -> set[str]:
        base = {name: value for name, value in GOOD.items() if name != "scope"}
        return set(check(sign({**base, **claims}, KEYS["oct"], "HS256"), **settings).scopes)

    assert scopes({"scp": ["batch", "unknown", 5]}) == {"batch"}
    assert scopes({"scope": "", "scp": ["batch"]}) == set()
    assert scopes({}, default_scopes=("transcribe",)) == {"transcribe"}
    assert scopes({"scope": "batch"}, default_scopes=("transcribe",)) == {"batch"}
    assert scopes({"roles": "admin"}, scope_claims=("roles",)) == {"admin"}
    assert scopes({"scope": {"admin": 1}}) == set()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"algorithms": ("none",), "secret": SECRET}, "algorithms is ['none']"),
        ({"algorithms": (), "secret": SECRET}, "algorithms is []"),
        ({"algorithms": ("HS256", "RS256"), "secret": SECRET}, "use HS* with a secret"),
        ({"algorithms": ("HS256",), "public_key": "x"}, "use HS* with a secret"),
        ({"algorithms": ("RS256",), "secret": SECRET}, "use HS* with a secret"),
        ({"algorithms": ("HS256",), "secret": "short"}, "secret has 5 bytes; use 32 or more"),
        ({"algorithms": ("HS256",)}, "no key given"),
        ({"algorithms": ("RS256",), "public_key": "x", "jwks_url": "https://x"}, "public_key and jwks_url given"),
        ({"algorithms": ("RS256",), "jwks_url": "http://idp.example.com/keys"}, "use an https:// URL"),
        ({"algorithms": ("RS256",), "jwks_url": "file:///etc/passwd"}, "use an https:// URL"),
        ({"algorithms": ("HS256",), "secret": SECRET, "leeway_s": 301}, "leeway_s is 301; use 0 to 300"),
        ({"algorithms": ("HS256",), "secret": SECRET, "audience": ""}, "audience is empty"),
        ({"algorithms": ("HS256",), "secret": SECRET, "default_scopes": ("root",)}, "default_scopes is ['root']"),
    ],
)
def test_wrong_settings_say_what_to_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        JwtSettings(**{"audience": "harken", **settings})
    assert SECRET not in str(refused.value)


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(JwtSettings(algorithms=("HS256",), audience="a", secret=SECRET))


def test_the_public_key_may_be_a_file_and_has_to_fit(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(pem(RSA))
    assert check(sign(GOOD, RSA, "PS384"), algorithms=("PS384",), public_key=str(tmp_path / "key.pem")).name == "anna"
    private = RSA.as_pem(private=True).decode()
    for key, algorithms, message in (
        (str(tmp_path / "none.pem"), ("RS256",), "cannot be read"),
        (private, ("RS256",), "is a private key"),
        (pem(RSA), ("ES256",), "is no EC key"),
        (pem(RSA), ("RS256", "ES256"), "is one key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", ("RS256",), "is no RSA key"),
    ):
        with pytest.raises(InputError, match=message):
            TokenVerifier(JwtSettings(algorithms=algorithms, audience="harken", public_key=key))


def test_a_small_rsa_key_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = generate_private_key(65537, 1024).public_key()
    small = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(InputError, match="has 1024 bits"):
        TokenVerifier(JwtSettings(algorithms=("RS256",), audience="harken", public_key=small))


def test_only_three_parts_look_like_a_token() -> None:
    assert [looks_like_token(text) for text in ("a.b.c", "a.b", "a.b.c.d.e", "a.b." + "c" * 9000)] == [True] + [
        False
    ] * 3
