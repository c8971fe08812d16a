"""Callers who may not, or not so often: cases 21, 22 and 36."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from tests.serving.faults.conftest import SMALL
from tests.serving.faults.server_process import (
    NATIVE,
    OPENAI,
    PATHS,
    ServerProcess,
    check_refusal,
    serving,
    until,
)
from tests.serving.faults.sounds import recording
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from harken.http.keys import DatabaseKeys
from harken.storage.database import Database

SECRET = "0123456789abcdef0123456789abcdef"
FRIEND, STRANGER = "https://app.example.com", "https://evil.example.com"
SOCKETS = ("/ws/transcribe", "/v1/listen", "/v1/realtime?intent=transcription", "/vosk", "/")


def token(*, alg: str = "HS256", secret: str = SECRET, typ: str = "JWT", **claims: Any) -> str:
    claims = {"sub": "ann", "aud": "harken", "exp": int(time.time()) + 300, "scope": "transcribe stream", **claims}
    signed = f"{_b64(json.dumps({'alg': alg, 'typ': typ}).encode())}.{_b64(json.dumps(claims).encode())}"
    if alg.lower() == "none":
        return f"{signed}."
    return f"{signed}.{_b64(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def guarded(models: list[dict[str, str | bool]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that believes keys and tokens, and lets in pages of one other origin."""
    settings = {
        "MODELS__MODELS": models[1:],
        **SMALL,
        "AUTH__JWT": {"algorithms": ["HS256"], "audience": "harken", "secret": SECRET, "leeway_s": 0},
        "LIMITS__FAILED_AUTHENTICATIONS": "1000/minute",
        "CORS__ORIGINS": [FRIEND],
        "OPEN_METRICS": "true",
    }
    with serving(tmp_path_factory.mktemp("guarded"), settings) as server:
        server.wait_ready()
        yield server


def make_key(server: ServerProcess, name: str, **limits: Any) -> str:
    with closing(Database.open(f"sqlite:///{server.home / 'harken.db'}")) as database:
        scopes = ("transcribe", "stream")
        return DatabaseKeys(database).create(name, scopes=scopes, now_s=time.time(), **limits)[1]


BAD_TOKENS = {
    "missing": None,
    "no scheme": "abc",
    "another scheme": "Basic YW5uOnNlY3JldA==",
    "malformed": "Bearer a.b.c",
    "not a key": "Bearer something",
    "a key nobody made": "Bearer hk_abcdef_" + "s" * 43,
    "expired": lambda: token(exp=int(time.time()) - 5),
    "alg none": lambda: token(alg="none"),
    "alg nOnE": lambda: token(alg="nOnE"),
    "an algorithm not asked for": lambda: token(alg="HS512"),
    "another secret": lambda: token(secret=SECRET[::-1]),
    "another audience": lambda: token(aud="elsewhere"),
    "no audience": lambda: token(aud=None),
    "no expiry": lambda: token(exp=None),
    "not yet": lambda: token(nbf=int(time.time()) + 60),
}


def authorization(kind: str) -> dict[str, str]:
    made = BAD_TOKENS[kind]
    if made is None:
        return {}
    return {"Authorization": f"Bearer {made()}" if callable(made) else made}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_bad_credentials_are_refused(guarded: ServerProcess, kind: str, path: str) -> None:
    answer = guarded.post(path, recording(), headers=authorization(kind))
    check_refusal(answer, path, 401, "not_authenticated" if path == NATIVE else "invalid_api_key")
    challenge = answer.headers["www-authenticate"]
    assert challenge == ("Bearer" if kind == "missing" else 'Bearer error="invalid_token"')
    assert SECRET not in answer.text
    assert guarded.noted("passes") == 0
    assert not guarded.left_over()


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_sockets_are_refused_before_they_are_accepted(guarded: ServerProcess, kind: str, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{guarded.ws}{path}", additional_headers=authorization(kind), legacy=True)
    response = caught.value.response
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    body = json.loads(response.body)
    assert list(body) == (["err_code", "err_msg", "request_id"] if path == "/v1/listen" else ["error"])


def test_a_good_token_gets_in_and_a_narrow_one_not_everywhere(guarded: ServerProcess) -> None:
    good = {"Authorization": f"Bearer {token()}"}
    answer = guarded.post(NATIVE, recording(), model="faulty", headers=good)
    assert answer.status_code == 200
    assert guarded.audit(answer.headers["x-request-id"])["principal"] == "jwt:ann"
    narrow = {"Authorization": f"Bearer {token(scope='stream', sub='bob')}"}
    check_refusal(guarded.post(NATIVE, recording(), headers=narrow), NATIVE, 403, "not_allowed")
    check_refusal(guarded.post(OPENAI, recording(), headers=narrow), OPENAI, 403, "not_allowed")
    only = {"Authorization": f"Bearer {token(scope='transcribe', sub='eve')}"}
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{guarded.ws}/ws/transcribe", additional_headers=only, legacy=True)
    assert caught.value.response.status_code == 403
    (guarded.switches / "passes").unlink(missing_ok=True)


@pytest.mark.parametrize("path", PATHS)
def test_over_the_rate(guarded: ServerProcess, path: str) -> None:
    key = make_key(guarded, f"slow {path}", rate="3/minute")
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{guarded.url}/v1/models"
    assert [httpx.get(url, headers=headers, timeout=10).status_code for _ in range(3)] == [200] * 3
    answer = guarded.post(path, recording(), headers=headers)
    check_refusal(answer, path, 429, "rate_exceeded" if path == NATIVE else "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{guarded.ws}/ws/transcribe", additional_headers=headers, legacy=True)
    assert caught.value.response.status_code == 429
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    another = {"Authorization": f"Bearer {make_key(guarded, f'other {path}')}"}
    assert httpx.get(url, headers=another, timeout=10).status_code == 200, "others are not held up"
    assert key not in guarded.log()


def test_more_audio_than_a_day_has(guarded: ServerProcess) -> None:
    headers = {"Authorization": f"Bearer {make_key(guarded, 'short day', audio_s_per_day=1)}"}
    first = guarded.post(NATIVE, recording(), model="faulty", headers=headers)
    assert first.status_code == 200
    passes = guarded.noted("passes")
    answer = guarded.post(NATIVE, recording(), model="faulty", headers=headers)
    check_refusal(answer, NATIVE, 429, "rate_exceeded")
    assert int(answer.headers["retry-after"]) > 60
    assert guarded.audit(answer.headers["x-request-id"])["status"] == 429
    assert guarded.noted("passes") == passes, "it is not heard"
    (guarded.switches / "passes").unlink(missing_ok=True)


@pytest.mark.parametrize("path", [*PATHS, "/v1/models", "/jobs/1"])
def test_a_preflight_of_a_stranger_gets_no_leave(guarded: ServerProcess, path: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    refused = httpx.options(f"{guarded.url}{path}", headers={"Origin": STRANGER, **asked}, timeout=10)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    plain = httpx.get(f"{guarded.url}/v1/models", headers={"Origin": STRANGER}, timeout=10)
    assert "access-control-allow-origin" not in plain.headers
    allowed = httpx.options(f"{guarded.url}{path}", headers={"Origin": FRIEND, **asked}, timeout=10)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, FRIEND)
    assert "access-control-allow-credentials" not in allowed.headers
    assert "Origin" in allowed.headers["vary"]


@pytest.mark.parametrize("path", SOCKETS)
def test_a_socket_of_a_strangers_page_is_refused(guarded: ServerProcess, path: str) -> None:
    good = {"Authorization": f"Bearer {token()}"}
    with pytest.raises(InvalidStatus) as caught:
        connect(f"{guarded.ws}{path}", additional_headers=good, origin=STRANGER, legacy=True)
    assert caught.value.response.status_code == 403
    until(lambda: guarded.metric('asr_active_streams{model="faulty"}') == 0)
