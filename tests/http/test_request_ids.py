"""Every request has an id."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

Build = Callable[..., Any]


@pytest.fixture
def client(build: Build) -> Any:
    with TestClient(build().app) as client:
        yield client


@pytest.mark.parametrize("given", ["a", "Ab-1_2.c", "x" * 64])
def test_a_good_id_is_kept(client: TestClient, given: str) -> None:
    assert client.get("/health", headers={"X-Request-ID": given}).headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é", 'a"b', "a/b"])
def test_another_is_replaced(client: TestClient, given: str) -> None:
    headers = [(b"x-request-id", given.encode("latin-1"))]
    assert re.fullmatch("[0-9a-f]{32}", client.get("/health", headers=headers).headers["x-request-id"])


def test_two_different_ids_are_none(client: TestClient) -> None:
    answer = client.get("/health", headers=[("x-request-id", "a"), ("x-request-id", "b")])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_ids_that_are_made_differ(client: TestClient) -> None:
    assert len({client.get("/health").headers["x-request-id"] for _ in range(20)}) == 20
