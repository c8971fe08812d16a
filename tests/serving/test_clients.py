"""Harken's own clients against the real server: the same texts as on this machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import soundfile

from harken.client.errors import RequestRefused
from harken.client.events import FLUSH, Committed, Endpoint, Final
from harken.client.sync_client import HarkenClient
from harken.core import Transcript

SERVE = "import typer; from harken.cli.serve import serve; typer.run(serve)"


@pytest.fixture(scope="module")
def url(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`harken serve` with one model, in a process of its own."""
    folder = tmp_path_factory.mktemp("server")
    log = (folder / "log").open("w+")
    environment = {**os.environ, "HARKEN_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, "--model", str(tiny_model), "--port", "0"],
        cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield _address(process, folder / "log")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        log.close()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the server says it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return found[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_files_streams_jobs_and_the_command_say_what_the_model_says(
    url: str, tiny_model: Path, recordings: list[Path], tmp_path: Path
) -> None:
    from harken.inference import load

    local = load(tiny_model)
    expected = [local.transcribe(path) for path in recordings]
    with HarkenClient(url) as client:
        assert client.health().status == "live"
        deadline = time.monotonic() + 30
        while not client.ready().ready and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.ready().ready, [c.detail for c in client.ready().checks.values()]
        assert "tiny" in [model.id for model in client.models()]
        result = client.transcribe(recordings[0], word_times=True)
        assert rounded(result.transcript) == rounded(expected[0])
        assert result.request_id
        answers = list(client.transcribe_many(recordings, concurrency=4))
        assert [(path, answer.text) for path, answer in answers] == [  # type: ignore[union-attr]
            (path, transcript.text) for path, transcript in zip(recordings, expected, strict=True)
        ]
        (tmp_path / "bad.wav").write_bytes(b"not audio at all, whatever its name")
        with pytest.raises(RequestRefused) as caught:
            client.transcribe(tmp_path / "bad.wav")
        assert caught.value.status == 415
        with pytest.raises(RequestRefused) as unknown:
            client.transcribe(recordings[0], model="absent")
        assert unknown.value.code == "unknown_model"

        job = client.submit_batch([recordings[0], tmp_path / "bad.wav", recordings[1]])
        assert client.wait(job.id, poll_s=0.1, timeout_s=60).ended
        items = list(client.results(job.id))
        assert [item.result.text if item.result else item.error is not None for item in items] == [
            expected[0].text, True, expected[1].text
        ]  # fmt: skip

        samples, rate_hz = soundfile.read(recordings[4], dtype="int16")
        data = samples.tobytes()
        middle = len(data) // 4 * 2
        events = list(client.stream([data[:middle], FLUSH, data[middle:]], sample_rate_hz=rate_hz))
        assert isinstance(events[-1], Final)
        assert events[-1].duration_s == pytest.approx(len(samples) / rate_hz, abs=0.01)
        committed = " ".join(event.text for event in events if isinstance(event, Committed))
        assert committed.split() == events[-1].text.split()
        assert "flush" in [event.rule for event in events if isinstance(event, Endpoint)]


@pytest.mark.slow
@pytest.mark.parametrize("style", ["json", "srt"])
def test_the_command_prints_the_same_with_a_server_and_without(
    url: str, tiny_model: Path, recordings: list[Path], tmp_path: Path, style: str
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not audio at all, whatever its name")

    def run(*options: object) -> tuple[int, str, str]:
        files = [str(path) for path in (*recordings[:3], bad)]
        done = subprocess.run(
            [sys.executable, "-m", "harken.cli.main", "transcribe", *files, "-f", style, *map(str, options)],
            capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.splitlines()[-1]

    code, out, last = run("--server", url)
    local_code, local_out, local_last = run("--model", tiny_model)
    assert (code, last) == (local_code, local_last) == (2, "1 file of 4 could not be transcribed.")
    if style == "json":
        assert [rounded(json.loads(line)) for line in out.splitlines()] == [
            rounded(json.loads(line)) for line in local_out.splitlines()
        ]
    else:
        assert out == local_out


def rounded(value: Any) -> Any:
    """`value` with probabilities as exact as passes of different batches give them."""
    if isinstance(value, Transcript):
        return rounded(asdict(value))
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


@pytest.mark.slow
def test_any_key_will_do_where_none_is_needed(url: str) -> None:
    with HarkenClient(url, api_key="hk_wrong_key") as client:
        assert client.models()
