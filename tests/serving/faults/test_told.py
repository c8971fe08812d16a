"""What callers are told when a part is missing: that it is, and never where it would be."""

import shutil
from pathlib import Path
from typing import Any

import httpx
from tests.serving.faults.conftest import Start
from tests.serving.faults.live_client import rest
from tests.serving.faults.server_process import NATIVE, PATHS, check_refusal, until
from tests.serving.faults.sounds import recording
from websockets.sync.client import connect

CANARY = "canary-of-a-path"
FILE = [("files", ("a.wav", recording(0.5)))]


def check_quiet(text: str, folder: Path) -> None:
    for secret in (CANARY, str(folder), "file://", "sqlite", "Errno", "Traceback"):
        assert secret not in text, text


def test_a_model_that_is_gone_is_not_told_by_its_path(start: Start, tmp_path: Path, tiny_model: Path) -> None:
    model = tmp_path / CANARY / "model"
    shutil.copytree(tiny_model, model)
    server = start(MODELS__MODELS=[{"path": str(model), "name": "gone"}], MODELS__RETRY_S=0.05)
    server.wait_ready()
    server.stop()
    shutil.rmtree(model)
    server.start()
    until(lambda: not server.ready()["checks"]["models"]["ok"])
    for path in PATHS:
        answer = server.post(path, recording(0.5), model="gone")
        check_refusal(answer, path, 503, "missing_part")
        check_quiet(answer.text, tmp_path)
    several = httpx.post(f"{server.url}/transcribe/batch", files=FILE, data={"mode": "now"}, timeout=30)
    check_quiet(several.text, tmp_path)
    for path in ("/ready", "/stats", "/v1/models", "/", "/metrics"):
        check_quiet(httpx.get(f"{server.url}{path}", timeout=10).text, tmp_path)
    for path, first in (
        ("/ws/transcribe", '{"type": "start", "model": "gone"}'),
        ("/vosk", '{"config": {"sample_rate": 16000}}'),
    ):
        with connect(f"{server.ws}{path}", proxy=None) as stream:
            stream.send(first)
            stream.send(bytes(32_000))
            heard, _ = rest(stream)
        check_quiet(str(heard), tmp_path)
    assert CANARY in server.log()


def test_a_store_that_is_gone_is_not_told_by_its_path(start: Start, tmp_path: Path) -> None:
    store = tmp_path / CANARY / "store"
    settings: dict[str, Any] = {"STORAGE__BLOBS": store.as_uri(), "STORAGE__JOB_ATTEMPTS": 1, "JOBS__OUTAGE_S": 0}
    server = start(**settings, JOBS__POLL_S=0.1)
    server.wait_ready()
    with server.switch("hold"):
        jobs = [
            httpx.post(
                f"{server.url}/transcribe/batch", files=FILE, data={"mode": "job", "model": "faulty"}, timeout=30
            ).json()["job"]["id"]
            for _ in range(2)
        ]
        shutil.rmtree(store)
        store.write_text("no folder")
    refused = httpx.post(f"{server.url}/transcribe/batch", files=FILE, data={"mode": "job"}, timeout=30)
    check_refusal(refused, NATIVE, 503, "missing_part")
    check_quiet(refused.text, tmp_path)
    for job in jobs:
        until(lambda job=job: httpx.get(f"{server.url}/jobs/{job}").json()["job"]["finished_s"], within_s=30)
        check_quiet(httpx.get(f"{server.url}/jobs/{job}/results", timeout=10).text, tmp_path)
    check_quiet(httpx.get(f"{server.url}/ready", timeout=10).text, tmp_path)
    assert CANARY in server.log()
