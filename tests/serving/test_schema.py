"""What OpenAPI promises is what the routes do, for hundreds of requests nobody thought of."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.serving.route_server import DIGITS, FakeCatalog, Stand

from harken.serving.contract import ModelInfo
from harken.serving.parts import Check

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = {
    ("/transcribe", "POST"): 100,
    ("/v1/audio/transcriptions", "POST"): 100,
    ("/v1/audio/translations", "POST"): 50,
    ("/v1/models", "GET"): 1,
    ("/v1/models/{model_id}", "GET"): 50,
    ("/stats", "GET"): 1,
    ("/metrics", "GET"): 1,
    ("/", "GET"): 1,
    ("/health", "GET"): 1,
    ("/ready", "GET"): 1,
}
TRIALS = [
    (path, method, examples, mode)
    for (path, method), examples in OPERATIONS.items()
    for mode in GenerationMode
    if method == "POST" or mode is GenerationMode.POSITIVE  # without parameters there is nothing to be wrong in
]
GUARDED = [operation for operation in OPERATIONS if operation[0] not in ("/", "/health", "/ready")]


class EveryName(FakeCatalog):
    """Knows nearly every model, so that requests of nobody's making get to the service."""

    def find(self, name: str) -> ModelInfo:
        return replace(DIGITS, can_translate=True) if len(name) % 4 else super().find(name)


async def fine() -> str:
    return "there"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    spool = tmp_path_factory.mktemp("spool")
    stand = Stand(spool=spool, checks={"models": Check(ask=fine)}, catalog=EveryName())
    yield stand
    assert stand.left_over() == []


@pytest.fixture(scope="module")
def url(stand: Stand) -> Iterator[str]:
    with stand.running() as url:
        yield url


def schema_at(url: str, *, credentials: bool) -> Any:
    config = SchemathesisConfig()
    config.projects.default.generation.update(with_security_parameters=credentials)
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


def tried(operation: Any, examples: int, mode: GenerationMode) -> Counter[int]:
    """How often each status came back; every answer is checked."""
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case) -> None:
        answer = case.call()
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    check()
    return statuses


def test_every_operation_is_tried(url: str) -> None:
    operations = [result.ok() for result in schema_at(url, credentials=False).get_all_operations()]
    assert {(operation.path, operation.method.upper()) for operation in operations} == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method", "examples", "mode"), TRIALS)
def test_no_request_gets_what_is_not_documented(
    url: str, stand: Stand, path: str, method: str, examples: int, mode: GenerationMode
) -> None:
    heard = len(stand.service.calls)
    statuses = tried(schema_at(url, credentials=False)[path][method], examples, mode)
    if method == "GET" and "{" not in path:
        assert set(statuses) == {200}
    elif method == "POST" and mode is GenerationMode.POSITIVE:
        assert len(stand.service.calls) - heard >= 5  # some got past the parameters


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, str]]:
    """A server with a key, which nobody guesses."""
    stand = Stand(spool=tmp_path_factory.mktemp("spool"), scopes=("transcribe", "metrics"))
    with stand.running() as url:
        yield stand, url


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), GUARDED)
def test_no_credentials_get_what_is_not_documented(locked: tuple[Stand, str], path: str, method: str) -> None:
    stand, url = locked
    statuses = tried(schema_at(url, credentials=True)[path][method], 20, GenerationMode.POSITIVE)
    assert set(statuses) <= {401, 429}  # somebody who fails too often is not listened to any more
    assert stand.service.calls == []
