"""`PUT /models/{name}`: another model behind a name, without a request that fails, by nobody but the operator."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.app_server import AppServer, app_server
from tests.serving.conftest import save_tiny_model
from tests.serving.route_server import until

from harken.client.errors import AccessRefused, RequestRefused
from harken.client.sync_client import HarkenClient
from harken.serving.served import models

KEYS = {"ops": ("admin", "transcribe"), "ann": ("transcribe", "batch", "stream", "metrics")}


@pytest.fixture(scope="module")
def exports(onnx_model: Path, recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An allowed folder with the models `first` and `second`, which say different things."""
    from harken.export import export_model

    folder = tmp_path_factory.mktemp("exports")
    shutil.copytree(onnx_model, folder / "first")
    save_tiny_model(folder / "second", seed=4, languages=["uz"])
    assert list(export_model(folder / "second", ["onnx"], files=recordings))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "harken.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def server(onnx_model: Path, exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    models = {"folders": [str(exports)], "aliases": {"fast": "tiny"}}
    with app_server(onnx_model, tmp_path_factory.mktemp("home"), keys=KEYS, models=models) as found:
        yield found


@pytest.fixture
def admin(server: AppServer) -> dict[str, str]:
    """Headers of the operator, who has put the model back that it began with."""
    headers = server.keys["ops"]
    assert put(server, {"path": "first"}, headers).json()["languages"] == ["en"]
    return headers


def put(server: AppServer, body: Any, headers: dict[str, str] | None = None, name: str = "tiny") -> httpx.Response:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    return httpx.put(f"{server.url}/models/{name}", **content, headers=headers, timeout=60)


def said(server: AppServer, recording: Path, headers: dict[str, str]) -> str:
    answer = server.transcribe(recording, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["text"])


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return str(answer.json()["error"]["message"])


def test_models_change_under_load_and_no_request_fails(
    server: AppServer, admin: dict[str, str], exports: Path, recordings: list[Path]
) -> None:
    before = said(server, recordings[1], admin)
    stop, texts = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            texts.append(said(server, recordings[1], admin))

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask) for _ in range(4)]
        try:
            for path in ("second", "first", str(exports / "second")):
                count = len(texts)
                until(lambda count=count: len(texts) > count + 4, within_s=20)
                answer = put(server, {"path": path}, admin)
                assert answer.status_code == 200, answer.text
                there = said(server, recordings[1], admin)
                assert (there != before) == (path != "first"), "who asks after the answer gets the new model"
        finally:
            stop.set()
        for asker in askers:
            asker.result()
    assert set(texts) == {before, there}
    assert answer.json() == {
        "name": "tiny",
        "family": "recurrent-ctc",
        "sample_rate_hz": 16_000,
        "languages": ["uz"],
        "created_s": answer.json()["created_s"],
        "loaded": True,
        "can_translate": False,
        "can_stream": True,
        "path": str(exports / "second"),
    }
    row = server.rows(4, route="/models/{name:path}", status=200)[0]  # with that of the fixture
    assert row.details == {"model": "tiny", "path": str(exports / "second")}
    assert row.principal.startswith("key:")


def test_names_that_mean_the_model(server: AppServer, admin: dict[str, str]) -> None:
    for name in ("default", "fast", "whisper-1"):
        assert put(server, {"path": "second"}, admin, name).json()["name"] == "tiny"
    assert "'absent'" in refused(put(server, {"path": "second"}, admin, "absent"), 404, "unknown_model")


def test_only_an_operator_may(server: AppServer, admin: dict[str, str]) -> None:
    assert "'admin'" in refused(put(server, {"path": "second"}, server.keys["ann"]), 403, "not_allowed")
    refused(put(server, {"path": "second"}), 401, "not_authenticated")
    assert server.app.state.server.catalog.find("tiny").languages == ("en",)


def test_an_open_server_has_no_operator(onnx_model: Path, exports: Path, tmp_path: Path) -> None:
    with app_server(onnx_model, tmp_path, models={"folders": [str(exports)]}) as server:
        assert "needs a key" in refused(put(server, {"path": "second"}), 403, "not_allowed")
        assert server.app.state.server.catalog.find("tiny").languages == ("en",)


def test_a_folder_that_does_not_load_leaves_the_old_model(
    server: AppServer, admin: dict[str, str], exports: Path, recordings: list[Path]
) -> None:
    before = said(server, recordings[1], admin)
    for path in ("damaged", "absent", ".", "second/model.safetensors"):
        message = refused(put(server, {"path": path}, admin), 422, "cannot_be_served")
        assert message.startswith("The model tiny "), message
    plain = exports / "plain"
    shutil.copytree(exports / "second", plain, ignore=shutil.ignore_patterns("onnx"), dirs_exist_ok=True)
    assert "onnx" in refused(put(server, {"path": "plain"}, admin), 422, "cannot_be_served")
    assert said(server, recordings[1], admin) == before
    assert httpx.get(f"{server.url}/ready").json()["checks"]["models"]["detail"] == "tiny: loaded"


def test_paths_outside_are_refused(
    server: AppServer, admin: dict[str, str], exports: Path, other_model: Path, recordings: list[Path]
) -> None:
    link = exports / "link"
    if not link.is_symlink():
        link.symlink_to(other_model)
    before = said(server, recordings[1], admin)
    for path in (str(other_model), f"../{other_model.name}", "/etc", "link", f"{exports}/../../x"):
        assert "is not inside" in refused(put(server, {"path": path}, admin), 403, "not_allowed")
    assert said(server, recordings[1], admin) == before


def test_without_named_folders_nothing_is_exchanged(onnx_model: Path, exports: Path, tmp_path: Path) -> None:
    with app_server(onnx_model, tmp_path, keys=KEYS) as server:
        answer = put(server, {"path": str(exports / "second")}, server.keys["ops"])
        assert "not exchanged from outside" in refused(answer, 403, "not_allowed")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_parameter"),
        (b"{", 400, "bad_parameter"),
        (b"[" * 60_000, 400, "bad_parameter"),
        (["second"], 400, "bad_parameter"),
        ({}, 400, "missing_parameter"),
        ({"path": None}, 400, "missing_parameter"),
        ({"path": "second", "engine": "torch"}, 400, "unknown_parameter"),
        ({"path": 3}, 400, "bad_parameter"),
        ({"path": ""}, 400, "bad_parameter"),
        ({"path": "a\0b"}, 400, "bad_parameter"),
        (b'{"path": "\\ud800"}', 400, "bad_parameter"),
        ({"path": "x" * 5_000}, 400, "bad_parameter"),
        ({"path": "x" * 4_000}, 400, "input_error"),
        ({"path": "x" * 100_000}, 413, "body_too_large"),
    ],
)
def test_bodies_that_are_not_taken(server: AppServer, body: Any, status: int, code: str) -> None:
    refused(put(server, body, server.keys["ops"]), status, code)


def test_a_second_exchange_of_a_name_meanwhile_is_a_conflict(
    server: AppServer, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, gate, real = threading.Event(), threading.Event(), models.load_served

    def load_served(model: Any) -> Any:
        began.set()
        assert gate.wait(20)
        return real(model)

    monkeypatch.setattr(models, "load_served", load_served)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(put, server, {"path": "second"}, admin)
        assert began.wait(20)
        try:
            assert "already" in refused(put(server, {"path": "first"}, admin), 409, "swap_under_way")
        finally:
            gate.set()
        assert first.result().json()["languages"] == ["uz"]
    assert put(server, {"path": "first"}, admin).json()["languages"] == ["en"]


def test_the_clients_have_a_method_for_it(server: AppServer, admin: dict[str, str], exports: Path) -> None:
    key = admin["Authorization"].removeprefix("Bearer ")
    with HarkenClient(server.url, api_key=key) as client:
        found = client.swap_model("fast", "second")
        assert (found.name, found.languages, found.path) == ("tiny", ("uz",), str(exports / "second"))
        with pytest.raises(RequestRefused, match="The model tiny") as caught:
            client.swap_model("fast", "damaged")
        assert (caught.value.status, caught.value.code) == (422, "cannot_be_served")
        with pytest.raises(AccessRefused, match="is not inside"):
            client.swap_model("fast", "/etc")


def test_a_model_that_was_absent_can_be_put_there(onnx_model: Path, exports: Path, tmp_path: Path) -> None:
    given = {"models": [{"path": str(onnx_model), "engine": "onnx"}, {"path": "/absent", "name": "late"}]}
    with app_server(onnx_model, tmp_path, keys=KEYS, models={**given, "folders": [str(exports)]}) as server:
        assert put(server, {"path": "second"}, server.keys["ops"], "late").json()["name"] == "late"
        listed = httpx.get(f"{server.url}/v1/models", headers=server.keys["ann"]).json()["data"]
        assert [model["id"] for model in listed] == ["tiny", "late"]


def test_the_routes_are_in_openapi_with_their_answers(server: AppServer) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    put_model = paths["/models/{name}"]["put"]
    statuses = {200, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503}
    assert set(put_model["responses"]) == set(map(str, statuses))
    assert put_model["security"] == [{"key": []}]
    assert put_model["requestBody"]["content"]["application/json"]["schema"]["required"] == ["path"]
    for path, method in (("/requests/{id}/audio", "get"), ("/requests/{id}/audio", "delete")):
        assert paths[path][method]["security"] == [{"key": []}]


def test_the_old_model_stays_while_the_new_one_has_no_room(
    onnx_model: Path, exports: Path, tmp_path: Path, recordings: list[Path]
) -> None:
    models = {"folders": [str(exports)], "memory_bytes": 1 << 40, "room_wait_s": 0.1}
    with app_server(onnx_model, tmp_path, keys=KEYS, models=models) as server:
        admin = server.keys["ops"]
        before = said(server, recordings[1], admin)
        catalog = server.app.state.server.catalog
        catalog._budget = catalog._used() + 1
        answer = put(server, {"path": "second"}, admin)
        assert "takes about" in answer.text or "no memory" in answer.text
        assert answer.status_code in (422, 503)
        assert said(server, recordings[1], admin) == before
