"""The playground's files are served from the package, with a policy that runs nothing else."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from harken.http.auth import policy_of
from harken.http.error_responses import install_error_handlers
from harken.serving.routes.playground import playground_router


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    install_error_handlers(app, {})
    app.include_router(playground_router())
    with TestClient(app) as made:
        yield made


def test_the_page_and_all_it_names_are_there(client: TestClient) -> None:
    page = client.get("/playground")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="(playground/[^"]+)"', page.text)
    assert named == ["playground/style.css", "playground/main.js"]
    seen: set[str] = set()
    while waiting := set(named) - seen:
        name = waiting.pop()
        seen.add(name)
        answer = client.get(f"/{name}")
        assert answer.status_code == 200, name
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        named += [f"playground/{found}" for found in re.findall(r'(?:from "\./|new URL\(")([\w.]+\.js)"', answer.text)]
    assert {"playground/capture.js", "playground/api.js", "playground/transcript.js"} < seen


def test_nothing_on_the_page_needs_a_looser_policy(client: TestClient) -> None:
    page = client.get("/playground")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert page.headers["permissions-policy"].startswith("microphone=(self)")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert re.findall(r"<script(?![^>]*src=)|\son\w+=|style=|https?://", page.text) == []


def test_what_did_not_change_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/playground/main.js")
    again = client.get("/playground/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/playground/main.js", headers={"If-None-Match": '"other"'}).content == first.content


@pytest.mark.parametrize(
    "name", ["absent.js", "index.html", "..%2Fcontract.py", "..%2F..%2F..%2Fetc%2Fpasswd", "main.js%00", "a%0d%0ab"]
)
def test_no_other_file_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/playground/{name}").status_code == 404


def test_everybody_may_open_it() -> None:
    assert [policy_of(route) for route in playground_router().routes] == ["public", "public"]
