"""What OpenAPI promises is what the routes do, for hundreds of requests nobody thought of."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.serving.jobs.job_stand import JobStand
from tests.serving.route_server import DIGITS, FakeCatalog, Stand

from harken.serving.app import create_app
from harken.serving.contract import ModelInfo
from harken.serving.jobs.settings import WebhookSettings
from harken.serving.parts import Check
from harken.serving.served.settings import ModelsSettings, ServedModel
from harken.serving.settings import ServeSettings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = {
    ("/transcribe", "POST"): 80,
    ("/transcribe/batch", "POST"): 80,
    ("/jobs/{id}", "GET"): 15,
    ("/jobs/{id}", "DELETE"): 15,
    ("/jobs/{id}/results", "GET"): 30,
    ("/v1/audio/transcriptions", "POST"): 80,
    ("/v1/audio/translations", "POST"): 40,
    ("/v1/models", "GET"): 1,
    ("/v1/models/{model_id}", "GET"): 30,
    ("/stats", "GET"): 1,
    ("/metrics", "GET"): 1,
    ("/", "GET"): 1,
    ("/health", "GET"): 1,
    ("/ready", "GET"): 1,
}
PLAIN = [path for path, method in OPERATIONS if method == "GET" and "{" not in path]
OF_OPERATORS = ("/models/{name}", "/requests/{id}/audio", "/requests/{id}/audio/{name}")  # test_operator_schema.py
TRIALS = [
    (path, method, examples, mode)
    for (path, method), examples in OPERATIONS.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or method == "POST" or path == "/jobs/{id}/results"  # others have no values
]
GUARDED = [operation for operation in OPERATIONS if operation[0] not in ("/", "/health", "/ready")]


class EveryName(FakeCatalog):
    """Knows nearly every model, so that requests of nobody's making get to the service."""

    def find(self, name: str) -> ModelInfo:
        return replace(DIGITS, can_translate=True) if len(name) % 4 else super().find(name)

    async def swap(self, name: str, folder: Path) -> ModelInfo:
        return DIGITS


async def fine() -> str:
    return "there"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    spool = tmp_path_factory.mktemp("home") / "spool"
    spool.mkdir()
    signed = WebhookSettings(secret="s" * 32)
    stand = JobStand(spool=spool, checks={"models": Check(ask=fine)}, catalog=EveryName(), webhooks=signed)
    yield stand
    assert stand.left_over() == []
    stand.database.close()


@pytest.fixture(scope="module")
def url(stand: Stand) -> Iterator[str]:
    with stand.running() as url:
        yield url


def schema_at(url: str, *, credentials: bool) -> Any:
    config = SchemathesisConfig()
    config.projects.default.generation.update(with_security_parameters=credentials)
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


def form_of(operation: Any) -> dict[str, Any] | None:
    """The schema of the form of an operation."""
    content = operation.definition.raw.get("requestBody", {}).get("content", {})
    found: dict[str, Any] | None = content.get("multipart/form-data", {}).get("schema")
    return found


def is_wrong(body: dict[str, Any], form: dict[str, Any]) -> bool:
    """Whether names or choices of a form are not the schema's. Types are not looked at: in a form all is text."""
    given = {name: value for name, value in body.items() if value not in (None, "", [], {})}
    choices = {name: fields["enum"] for name, fields in form["properties"].items() if "enum" in fields}
    return (
        bool(set(given) - set(form["properties"]))
        or not set(form["required"]) <= set(body)
        or any(name in choices and value not in choices[name] for name, value in given.items())
    )


def tried(operation: Any, examples: int, mode: GenerationMode, headers: dict[str, str] | None = None) -> Counter[int]:
    """How often each status came back. Every answer is checked, and that what is wrong is refused."""
    statuses: Counter[int] = Counter()
    form = form_of(operation)
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE and form is None else CHECKS

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case) -> None:
        answer = case.call(headers=headers)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=checks)
        if form is not None and isinstance(case.body, dict) and is_wrong(case.body, form):
            assert answer.status_code >= 400, case.body

    check()
    return statuses


def test_every_operation_is_tried(url: str) -> None:
    found = schema_at(url, credentials=False)
    operations = [result.ok() for result in found.get_all_operations()]
    assert {(operation.path, operation.method.upper()) for operation in operations} == set(OPERATIONS)
    served = create_app(ServeSettings(models=ModelsSettings(models=(ServedModel(path=Path("m")),)))).openapi()["paths"]
    assert {path: served[path] for path in served if path not in OF_OPERATORS} == found.raw_schema["paths"]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method", "examples", "mode"), TRIALS)
def test_no_request_gets_what_is_not_documented(
    url: str, stand: Stand, path: str, method: str, examples: int, mode: GenerationMode
) -> None:
    heard = len(stand.service.calls)
    statuses = tried(schema_at(url, credentials=False)[path][method], examples, mode)
    if path in PLAIN:
        assert set(statuses) == {200}
    elif method == "POST" and mode is GenerationMode.POSITIVE:
        assert len(stand.service.calls) - heard >= 5  # some got past the parameters


@pytest.mark.slow
def test_jobs_are_followed_from_their_batch_to_their_end(url: str, stand: Stand) -> None:
    """The links of the schema lead from a batch to its job, results and end, for ids that there are."""
    answers: Counter[tuple[str, int]] = Counter()
    machine: Any = schema_at(url, credentials=False).include(tag="Batches").as_state_machine()

    class Followed(machine):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            answers[case.operation.definition.raw["operationId"], response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

    Followed.run(
        settings=settings(
            max_examples=60, stateful_step_count=6, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
    )  # fmt: skip
    for name in ("getJob", "getJobResults", "cancelJob"):
        assert answers[name, 200] >= 3, answers
    assert answers["transcribeBatch", 202] >= 3, answers


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, str]]:
    """A server with a key, which nobody guesses."""
    spool = tmp_path_factory.mktemp("locked") / "spool"
    spool.mkdir()
    stand = JobStand(spool=spool, scopes=("transcribe", "metrics"))
    with stand.running() as url:
        yield stand, url
    stand.database.close()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), GUARDED)
def test_no_credentials_get_what_is_not_documented(locked: tuple[Stand, str], path: str, method: str) -> None:
    stand, url = locked
    statuses = tried(schema_at(url, credentials=True)[path][method], 20, GenerationMode.POSITIVE)
    elsewhere = {404} if "{" in path else set()  # clients resolve the dots of a name that is "..", and ask elsewhere
    assert set(statuses) <= {401, 429} | elsewhere  # somebody who fails too often is not listened to any more
    assert set(statuses) & {401, 429}
    assert stand.service.calls == []
