"""Audio that the operator keeps: whose, for how long, who may hear and who may erase it."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.services import create_bucket, running_s3, s3_environment
from tests.serving.app_server import AppServer, app_server
from tests.serving.route_server import until

from harken.serving import retention, workshop
from harken.storage.objects import ObjectStore

NOBODY = "0" * 32


@pytest.fixture(scope="module")
def server(onnx_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """A server that keeps audio for a minute, and texts."""
    home = tmp_path_factory.mktemp("home")
    keys = {"ops": ("admin",), "ann": ("transcribe", "batch", "stream", "metrics")}
    with app_server(onnx_model, home, keys=keys, retention={"keep_s": 60}, audit={"text": True}) as found:
        yield found


@pytest.fixture(scope="module")
def admin(server: AppServer) -> dict[str, str]:
    return server.keys["ops"]


@pytest.fixture(scope="module")
def ann(server: AppServer) -> dict[str, str]:
    return server.keys["ann"]


def kept(server: AppServer, request_id: str, headers: dict[str, str], count: int = 1) -> list[dict[str, Any]]:
    """What is kept of a request, once it is."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        answer = httpx.get(f"{server.url}/requests/{request_id}/audio", headers=headers)
        found[:] = answer.json()["audio"] if answer.status_code == 200 else []
        return len(found) >= count

    until(there, within_s=10)
    return found


@pytest.mark.parametrize("path", ["/transcribe", "/v1/audio/transcriptions"])
def test_an_upload_is_kept_with_its_request(
    server: AppServer, admin: dict[str, str], ann: dict[str, str], recordings: list[Path], path: str
) -> None:
    content = recordings[1].read_bytes()
    answer = server.transcribe(recordings[1], path, headers=ann)
    assert answer.status_code == 200
    request_id = answer.headers["x-request-id"]
    (file,) = kept(server, request_id, admin)
    expected = {
        "media_type": "audio/wav",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "principal": server.rows(request_id=request_id)[0].principal,
        "route": path,
        "model": "tiny",
        "text": answer.json()["text"],
    }
    assert {name: file[name] for name in expected} == expected
    assert file["principal"].startswith("key:")
    assert file["duration_s"] == pytest.approx(31_000 / 16_000)
    assert 50 < file["expires_s"] - time.time() < 61
    one = httpx.get(f"{server.url}/requests/{request_id}/audio/{file['name']}", headers=admin)
    assert one.content == content
    assert one.headers["content-type"] == "application/octet-stream"
    assert one.headers["content-disposition"].startswith("attachment")
    assert one.headers["x-content-type-options"] == "nosniff"
    assert server.rows(request_id=request_id)[0].details["kept_files"] == "1"
    assert server.spooled() == []


def test_the_upload_of_a_streamed_answer_is_kept(
    server: AppServer, admin: dict[str, str], ann: dict[str, str], recordings: list[Path]
) -> None:
    answer = server.transcribe(recordings[4], "/v1/audio/transcriptions", data={"stream": "true"}, headers=ann)
    assert "transcript.text.done" in answer.text
    (file,) = kept(server, answer.headers["x-request-id"], admin)
    assert file["sha256"] == hashlib.sha256(recordings[4].read_bytes()).hexdigest()


def asked_about(server: AppServer) -> set[str | None]:
    """The requests whose audio was asked for and found, by the audit."""
    return {row.details.get("of") for row in server.rows(route="/requests/{id}/audio", status=200)}


def test_files_of_a_batch_are_kept_together_and_erased(
    server: AppServer, admin: dict[str, str], ann: dict[str, str], recordings: list[Path]
) -> None:
    files = [("files", path.read_bytes()) for path in recordings[:2]] + [("files", b"no audio")]
    headers = {**ann, "X-Request-ID": "chosen.by-a_client"}
    answer = httpx.post(f"{server.url}/transcribe/batch", files=files, headers=headers, timeout=60)
    assert [item["state"] for item in answer.json()["results"]] == ["done", "done", "failed"]
    found = kept(server, "chosen.by-a_client", admin, 2)
    assert {file["sha256"] for file in found} == {hashlib.sha256(p.read_bytes()).hexdigest() for p in recordings[:2]}
    url = f"{server.url}/requests/chosen.by-a_client/audio"
    assert httpx.delete(url, headers=admin).json() == {"deleted": 2}
    again = httpx.delete(url, headers=admin)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "not_found")
    assert httpx.get(url, headers=admin).status_code == 404
    assert httpx.get(f"{url}/{found[0]['name']}", headers=admin).status_code == 404
    until(lambda: "chosen.by-a_client" in asked_about(server), within_s=10)


def test_callers_reach_nothing_not_even_their_own(
    server: AppServer, admin: dict[str, str], ann: dict[str, str], recordings: list[Path]
) -> None:
    request_id = server.transcribe(recordings[0], headers=ann).headers["x-request-id"]
    (file,) = kept(server, request_id, admin)
    url = f"{server.url}/requests/{request_id}/audio"
    for method, address in (("GET", url), ("GET", f"{url}/{file['name']}"), ("DELETE", url)):
        refused = httpx.request(method, address, headers=ann)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
        assert httpx.request(method, address).status_code == 401
    assert len(kept(server, request_id, admin)) == 1


@pytest.mark.parametrize("name", ["..", "a%2Fb", "x" * 65, "%00"])
def test_ids_that_no_request_has(server: AppServer, admin: dict[str, str], name: str) -> None:
    for method in ("GET", "DELETE"):
        answer = httpx.request(method, f"{server.url}/requests/{name}/audio", headers=admin)
        assert answer.status_code in (400, 404)
        assert answer.json()["error"]["request_id"]
    assert httpx.get(f"{server.url}/requests/{NOBODY}/audio/zz", headers=admin).status_code == 400


def test_requests_without_an_answer_leave_nothing(
    server: AppServer, admin: dict[str, str], ann: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    answer = server.transcribe(tmp_path / "bad.wav", headers=ann)
    assert answer.status_code == 415
    time.sleep(0.3)
    url = f"{server.url}/requests/{answer.headers['x-request-id']}/audio"
    assert httpx.get(url, headers=admin).status_code == 404
    assert server.spooled() == []


def test_nothing_is_kept_unless_it_is_asked_for(onnx_model: Path, recordings: list[Path], tmp_path: Path) -> None:
    with app_server(onnx_model, tmp_path) as server:
        answer = server.transcribe(recordings[0])
        assert answer.status_code == 200
        (row,) = server.rows(request_id=answer.headers["x-request-id"])
        assert "kept_files" not in row.details
        url = f"{server.url}/requests/{answer.headers['x-request-id']}/audio"
        refused = httpx.get(url)
        assert (refused.status_code, "needs a key" in refused.text) == (403, True)
        assert httpx.delete(url).status_code == 403
    assert list((tmp_path / "store").rglob("*")) == []


def test_text_is_kept_only_where_texts_are(onnx_model: Path, recordings: list[Path], tmp_path: Path) -> None:
    with app_server(onnx_model, tmp_path, retention={"keep_s": 60}) as server:
        assert server.transcribe(recordings[1]).json()["text"]
        until(lambda: list((tmp_path / "store").glob("requests/*/*.audio")), within_s=10)
    (facts,) = (tmp_path / "store").glob("requests/*/*.json")
    assert '"text": null' in facts.read_text()


def test_the_cleaning_takes_what_has_expired_and_nothing_of_jobs(
    onnx_model: Path, recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "CLEAN_S", 0.2)
    with app_server(onnx_model, tmp_path, retention={"keep_s": 2.0}) as server:
        blob = server.app.state.server.blobs.put_file(recordings[0])
        began = time.monotonic()
        assert server.transcribe(recordings[0]).status_code == 200
        until(lambda: list((tmp_path / "store").glob("requests/*/*.audio")), within_s=10)
        until(lambda: not list((tmp_path / "store").glob("requests/*/*")), within_s=10)
        assert time.monotonic() - began > 1
        assert server.app.state.server.blobs.exists(blob)


@pytest.mark.service
@pytest.mark.slow
def test_a_bucket_that_is_away_costs_a_request_nothing(
    onnx_model: Path, recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files may wait, the third is not kept; those two are stored once the bucket is back."""
    monkeypatch.setattr(retention, "RETRY_S", 0.2)
    with running_s3() as service:
        for name, value in s3_environment(service.url).items():
            monkeypatch.setenv(name, value)
        bucket = create_bucket(service.url)
        given = {"storage": {"blobs": f"{bucket}/asr"}, "retention": {"keep_s": 60, "pending_files": 2}}
        with app_server(onnx_model, tmp_path, **given) as server:
            assert server.transcribe(recordings[0]).status_code == 200
            until(lambda: names(f"{bucket}/asr", 1), within_s=10)
            service.stop()
            for _ in range(3):
                began = time.monotonic()
                assert server.transcribe(recordings[0]).status_code == 200
                assert time.monotonic() - began < 2
            assert len(server.spooled()) == 2
            assert counted(server, "dropped") == 1
            until(lambda: httpx.get(f"{server.url}/ready").json()["status"] == "degraded", within_s=10)
            service.start()
            create_bucket(service.url, name=bucket.removeprefix("s3://"))  # it keeps nothing
            until(lambda: counted(server, "kept") == 3, within_s=30)
            assert len(names(f"{bucket}/asr", 2)) == 2
            assert server.spooled() == []


def names(url: str, count: int) -> list[str]:
    keys = [item.key for item in ObjectStore.open(url).listed("requests/")]
    found = [key for key in keys if key.endswith(".audio")]
    return found if len(found) >= count else []


def counted(server: AppServer, outcome: str) -> float:
    registry = server.app.state.server.metrics.registry
    return registry.get_sample_value("asr_audio_kept_total", {"outcome": outcome}) or 0.0
