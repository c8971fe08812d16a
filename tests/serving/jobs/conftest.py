"""A server that takes batches, and what the model of the killed workers says."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.serving import route_server
from tests.serving.jobs.job_stand import ANN, Answers, JobStand, Keys
from tests.serving.jobs.worker_bench import Bench

from harken.storage.blobs import BlobStore
from harken.storage.database import Database
from harken.storage.jobs import JobQueue


@pytest.fixture(scope="session")
def texts(onnx_model: Path, recordings: list[Path]) -> list[str]:
    """What the model says to each recording, without any server."""
    from harken.inference import load

    recognizer = load(onnx_model, engine="onnx")
    found = [recognizer.transcribe(path).text for path in recordings]
    assert all(found)
    assert len(set(found)) > 4
    return found


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStand]:
    monkeypatch.setattr(route_server, "OneKey", Keys)
    spool = tmp_path / "spool"
    spool.mkdir()
    made = JobStand(spool=spool, service=Answers())
    yield made
    assert made.left_over() == []
    made.database.close()


@pytest.fixture
def client(stand: JobStand) -> Iterator[httpx.Client]:
    with stand.running() as url, httpx.Client(base_url=url, headers=ANN, timeout=20) as opened:
        yield opened


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = Database.open(f"sqlite:///{tmp_path}/jobs.db")
    yield Bench(tmp_path, JobQueue(database), BlobStore.open((tmp_path / "store").as_uri()))
    database.close()
