"""Security headers, CORS, and the origins of WebSockets."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from harken.http.addresses import ProxySettings
from harken.http.headers import NO_CONTENT_POLICY, CorsSettings, HeaderSettings

Build = Callable[..., Any]


def test_every_answer_has_them_also_a_refusal(build: Build) -> None:
    with TestClient(build().app) as client:
        answers = [client.get("/health"), client.get("/none"), client.post("/body", headers={"Content-Length": "-1"})]
    assert [answer.status_code for answer in answers] == [200, 404, 400]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"] == NO_CONTENT_POLICY
        assert "strict-transport-security" not in answer.headers


def test_a_page_may_have_its_own_policy(build: Build) -> None:
    policies = {"/items": "default-src 'self'", "/items/2": "default-src 'self' blob:"}
    with TestClient(build(headers=HeaderSettings(content_policies=policies)).app) as client:
        given = [client.get(path).headers["content-security-policy"] for path in ("/items/1", "/items/2", "/health")]
    assert given == ["default-src 'self'", "default-src 'self' blob:", NO_CONTENT_POLICY]


def test_tls_is_remembered_by_browsers_where_there_is_tls(build: Build) -> None:
    settings = HeaderSettings(hsts_s=100)
    with TestClient(build(headers=settings).app, base_url="https://testserver") as client:
        assert client.get("/health").headers["strict-transport-security"] == "max-age=100"
    trusted = ProxySettings(trusted=("10.0.0.1",)).networks()
    app = build(headers=settings, trusted_proxies=trusted).app
    with TestClient(app, client=("10.0.0.1", 1)) as client:
        answer = client.get("/health", headers={"X-Forwarded-Proto": "https"})
        assert answer.headers["strict-transport-security"] == "max-age=100"


def test_cors_is_for_listed_origins_only(build: Build) -> None:
    app = build(cors=CorsSettings(origins=("https://app.example.com",))).app
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with TestClient(app) as client:
        friend = client.options("/body", headers={"Origin": "https://app.example.com", **asked})
        stranger = client.options("/body", headers={"Origin": "https://evil.example.com", **asked})
        read = client.get("/health", headers={"Origin": "https://evil.example.com"})
        allowed = client.get("/health", headers={"Origin": "https://app.example.com"})
    assert (friend.status_code, friend.headers["access-control-allow-origin"]) == (200, "https://app.example.com")
    assert stranger.status_code == 400
    assert "access-control-allow-origin" not in {**stranger.headers, **read.headers}
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "access-control-allow-credentials" not in allowed.headers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"origins": ("*",), "credentials": True}, "origins has '*' with credentials"),
        ({"origins": ("app.example.com",)}, "origins has 'app.example.com'"),
        ({"origins": ("https://app.example.com/",)}, "use scheme and host"),
        ({"max_age_s": -1}, "max_age_s is -1"),
    ],
)
def test_wrong_settings_say_what_to_use(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        CorsSettings(**settings)


@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        (None, "testserver", True),
        ("http://testserver", "testserver", True),
        ("http://testserver:80", "testserver", True),
        ("https://testserver", "testserver:443", True),
        ("https://app.example.com", "testserver", True),
        ("https://evil.example.com", "testserver", False),
        ("http://testserver:8080", "testserver", False),
        ("http://testserver.evil.com", "testserver", False),
        ("http://testserver:port", "testserver", False),
        ("null", "testserver", False),
        ("file://", "testserver", False),
        ("file://testserver", "testserver", False),
        ("", "", False),
    ],
)
def test_a_foreign_page_opens_no_socket(build: Build, origin: str | None, host: str, passes: bool) -> None:
    service = build(cors=CorsSettings(origins=("https://app.example.com",)))
    headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
    with TestClient(service.app) as client:
        if passes:
            with client.websocket_connect("/socket", headers=headers) as socket:
                assert socket.receive_text().startswith("anonymous@")
                socket.send_text("bye")
            return
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/socket", headers=headers):
            pass
        assert (refused.value.status_code, refused.value.json()["error"]["code"]) == (403, "not_allowed")
