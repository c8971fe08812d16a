"""`harken worker`: works on jobs until it is told to stop."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from tests.serving.conftest import save_tiny_model
from tests.serving.server_processes import Processes, until
from typer.testing import CliRunner

from harken.cli.worker import worker
from harken.http.auth import Principal
from harken.serving.contract import TranscribeOptions
from harken.serving.jobs.work import KIND, item_payload, job_payload
from harken.serving.settings import ServeSettings
from harken.storage.audit import AuditLog
from harken.storage.blobs import BlobStore
from harken.storage.database import Database
from harken.storage.jobs import JobQueue

app = typer.Typer()
app.command()(worker)
ME = Principal(id="me", name="me", kind="key", scopes=frozenset(), rate=None, audio_s_per_day=None, streams=None)


@pytest.mark.parametrize(
    ("environment", "options", "workers"), [("0", [], 0), ("3", [], 3), ("3", ["--workers", "2"], 2)]
)
def test_it_takes_the_settings_of_the_server(
    monkeypatch: pytest.MonkeyPatch, environment: str, options: list[str], workers: int
) -> None:
    seen: list[ServeSettings] = []
    monkeypatch.setattr("harken.serving.jobs.run.run_worker", lambda settings, **_: seen.append(settings))
    monkeypatch.setattr("harken.http.logs.configure_logging", lambda *_: None)
    monkeypatch.setattr("os.environ", {"HARKEN_SERVE_JOBS__WORKERS": environment})
    CliRunner().invoke(app, ["--model", "/m/a", "--engine", "onnx", *options], catch_exceptions=False)
    assert seen[0].jobs.workers == workers
    assert seen[0].models.models[0].engine == "onnx"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    started.kill_all()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=3, languages=["en"])


def queued(home: Path, files: int, *, seconds: float = 1.0) -> tuple[Database, JobQueue, str]:
    database = Database.open(f"sqlite:///{home}/harken.db")
    blobs = BlobStore.open((home / "store").as_uri())
    generator = np.random.default_rng(5)
    items = []
    for number in range(files):
        noise = 0.2 * generator.standard_normal(int(seconds * 16_000))
        soundfile.write(home / f"{number}.wav", noise.astype(np.float32), 16_000, subtype="FLOAT")
        items.append(item_payload(blobs.put_file(home / f"{number}.wav"), f"{number}.wav"))
    payload = job_payload(TranscribeOptions(), word_times=False, principal=ME)
    queue = JobQueue(database)
    return database, queue, queue.create(KIND, payload, items, owner="me")


def counts(queue: JobQueue, job: str) -> Any:
    view = queue.view(job)
    assert view is not None
    return view


@pytest.mark.slow
def test_it_works_until_a_signal_and_leaves_nothing_behind(model: Path, processes: Processes) -> None:
    database, queue, job = queued(processes.home, 3)
    processes.set(jobs__workers=0, jobs__poll_s=0.1)
    process, log = processes.start("worker", "--model", str(model))
    until(lambda: counts(queue, job).finished_s, log=log, process=process)
    assert [item.state for item in queue.results(job)] == ["done"] * 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "Harken works on jobs" in log.read_text()
    assert list((processes.home / "spool").iterdir()) == []
    assert sorted(row.request_id for row in AuditLog(database).recent(10)) == [f"{job}-{n}" for n in range(3)]
    database.close()


@pytest.mark.slow
def test_a_signal_lets_it_finish_its_file_and_take_no_other(model: Path, processes: Processes) -> None:
    database, queue, job = queued(processes.home, 40, seconds=4)
    processes.set(jobs__poll_s=0.1)
    process, log = processes.start("worker", "--model", str(model))
    until(lambda: counts(queue, job).done >= 1, log=log, process=process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    view = counts(queue, job)
    assert (view.running, view.failed) == (0, 0)
    assert 1 <= view.done < 40
    assert [item.attempts for item in queue.results(job) if item.state == "queued"] == [0] * view.queued
    database.close()


@pytest.mark.slow
def test_a_second_signal_gives_its_files_back(model: Path, processes: Processes) -> None:
    database, queue, job = queued(processes.home, 1)
    processes.set(jobs__poll_s=0.1)
    process, log = processes.start("worker", "--model", str(model))
    until(lambda: "Harken works on jobs" in log.read_text(), log=log, process=process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    view = counts(queue, job)
    assert view.running == view.failed == 0
    database.close()
