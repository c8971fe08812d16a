"""What the server says of itself."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from tests.serving.route_server import KEY, RESULT, Stand

from harken.http.auth import require_policies
from harken.serving.parts import Check, NotWorking
from harken.serving.routes import info, native, openai


async def fine() -> str:
    return "2 models"


async def broken() -> str:
    raise ConnectionError("postgresql://user:password@host")


async def missing() -> str:
    raise NotWorking("No model is loaded.")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json, text/html", "application/json"),
    ],
)
def test_the_root_speaks_to_programs_and_to_people(tmp_path: Path, accept: str | None, kind: str) -> None:
    with Stand(spool=tmp_path).running() as url:
        answer = httpx.get(url, headers={"Accept": accept} if accept else {})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["vary"].startswith("Accept")
    assert "1.2.3" in answer.text
    assert f"curl {url}/transcribe" in answer.text
    if kind == "application/json":
        assert answer.json()["links"]["health"] == f"{url}/health"
        assert "/v1/audio/transcriptions" in answer.json()["usage"]["transcribe_openai"]
        assert all("Bearer $HARKEN_API_KEY" in line for line in answer.json()["usage"].values())


def test_the_page_holds_nothing_of_the_client_unescaped(tmp_path: Path) -> None:
    with Stand(spool=tmp_path).running() as url:
        answer = httpx.get(url, headers={"Accept": "text/html", "Host": '"><script>alert(1)</script>'})
        odd = httpx.get(url, headers={"Host": "[::"})
    assert "<script" not in answer.text
    assert odd.status_code < 500
    style = re.search("<style>(.*)</style>", answer.text)
    assert style
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_health_and_ready(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path, checks={"models": Check(ask=fine)})
    with stand.running() as url, httpx.Client(base_url=url) as client:
        assert client.get("/health").json() == {"status": "live"}
        answer = client.get("/ready")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ready"
        check = answer.json()["checks"]["models"]
        assert (check["ok"], check["required"], check["detail"]) == (True, True, "2 models")
        assert 0 <= check["ms"] < 1000
        stand.drain.begin()
        drained = client.get("/ready")
        assert drained.status_code == 503
        assert drained.json()["status"] == "not_ready"
        assert drained.json()["checks"]["server"]["detail"] == "the server is shutting down"
        assert client.get("/health").status_code == 200
        assert client.post("/transcribe", files={"file": b"x"}).status_code == 503


@pytest.mark.parametrize(
    ("checks", "status", "code"),
    [
        ({"models": Check(ask=fine), "cache": Check(ask=broken, required=False)}, "degraded", 200),
        ({"models": Check(ask=missing), "cache": Check(ask=fine, required=False)}, "not_ready", 503),
        ({}, "ready", 200),
    ],
)
def test_ready_tells_the_truth(tmp_path: Path, checks: dict[str, Check], status: str, code: int) -> None:
    with Stand(spool=tmp_path, checks=checks).running() as url:
        answer = httpx.get(f"{url}/ready")
    assert (answer.status_code, answer.json()["status"]) == (code, status)
    assert set(answer.json()["checks"]) == set(checks)
    assert "password" not in answer.text
    details = {name: check["detail"] for name, check in answer.json()["checks"].items()}
    if "cache" in checks and status == "degraded":
        assert details["cache"] == "does not answer"
    if status == "not_ready":
        assert details["models"] == "No model is loaded."


def test_stats_and_metrics_need_their_scope(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path, scopes=("transcribe",))
    with stand.running() as url, httpx.Client(base_url=url) as client:
        for path in ("/stats", "/metrics"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"X-API-Key": KEY}).status_code == 403
        for path in ("/", "/health", "/ready"):
            assert client.get(path).status_code == 200


@pytest.mark.parametrize("scopes", [("metrics",), ("transcribe",)])
def test_stats_and_metrics(tmp_path: Path, scopes: tuple[str, ...]) -> None:
    stand = Stand(spool=tmp_path, scopes=scopes, open_metrics=scopes == ("transcribe",))
    stand.metrics.request_done("digits", RESULT.timings, audio_s=2.25, cached=False)
    stand.metrics.refused("queue_full")
    headers = {} if stand.open_metrics else {"X-API-Key": KEY}
    with stand.running() as url, httpx.Client(base_url=url, headers=headers) as client:
        assert client.get("/stats").json()["totals"] == {"heard": 1, "refused: queue_full": 1}
        page = client.get("/metrics")
    assert 'asr_rejects_total{reason="queue_full"} 1.0' in page.text.splitlines()
    assert page.headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize("open_metrics", [True, False])
def test_every_route_declares_its_policy(open_metrics: bool) -> None:
    app = FastAPI(openapi_url=None)
    for router in (info.info_router(open_metrics=open_metrics), native.router, openai.router):
        app.include_router(router)
    require_policies(app)
