"""What OpenAPI promises of the routes of operators is what they do, for requests nobody thought of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from schemathesis import GenerationMode
from tests.serving.app_server import AppServer, app_server
from tests.serving.test_schema import schema_at, tried

OPERATIONS = [
    ("/models/{name}", "PUT"),
    ("/requests/{id}/audio", "GET"),
    ("/requests/{id}/audio", "DELETE"),
    ("/requests/{id}/audio/{name}", "GET"),
]


@pytest.fixture(scope="module")
def server(onnx_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """It lets anybody be an operator's equal in rate; its folders hold nothing that could be loaded."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    given = {"limits": {"rate": None, "failed_authentications": "100000/minute"}, "retention": {"keep_s": 60}}
    keys = {"ops": ("admin",)}
    with app_server(onnx_model, home, keys=keys, models={"folders": [str(home / "models")]}, **given) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_request_gets_what_is_not_documented(
    server: AppServer, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema_at(server.url, credentials=False)[path][method]
    statuses = tried(operation, 25, mode, headers=server.keys["ops"])
    assert 401 not in statuses
    assert set(statuses) <= {400, 403, 404, 405, 413, 422}, statuses
    assert set(tried(operation, 10, mode)) <= {401, 400, 404, 405}, "without a key"
