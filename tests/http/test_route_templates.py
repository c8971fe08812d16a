"""Routes as labels."""

import pytest
from fastapi import APIRouter, FastAPI

from harken.http.route_templates import RouteTemplates


def _app() -> FastAPI:
    app, router, deeper, mounted = FastAPI(openapi_url=None), APIRouter(prefix="/jobs"), APIRouter(), FastAPI()
    deeper.add_api_route("/{job}/results", lambda job: job)
    deeper.add_api_websocket_route("/{job}/live", lambda job: job)
    router.include_router(deeper)
    app.include_router(router, prefix="/api")
    app.mount("/static", mounted)
    app.add_api_route("/", lambda: 0)
    return app


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/api/jobs/17/results", "/api/jobs/{job}/results"),
        ("/api/jobs/17/live", "/api/jobs/{job}/live"),
        ("/api/jobs/17", "unmatched"),
        ("/static/user/string.js", "/static/*"),
        ("/root/api/jobs/17/results", "/api/jobs/{job}/results"),
        ("/x" * 1000, "unmatched"),
    ],
)
def test_a_path_has_the_template_of_its_route(path: str, template: str) -> None:
    root = "/root" if path.startswith("/root") else ""
    assert RouteTemplates().of({"app": _app(), "path": path, "root_path": root}) == template
