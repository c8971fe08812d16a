"""The examples of `examples/serving` run as they stand, against a server that speaks the contract."""

import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.contract_server import KEY, Contract, contract_app, running

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "serving"


@pytest.fixture
def contract() -> Iterator[Contract]:
    told = Contract(key=KEY)
    with running(contract_app(told)) as url:
        told.url = url
        yield told


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """1.3 s of silence as a WAV file."""
    path = tmp_path / "a talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 20_800))
    return path


def run(contract: Contract, *command: object, key: str = KEY) -> subprocess.CompletedProcess[str]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs {command[0]}")
    environment = {**os.environ, "HARKEN_URL": contract.url, "HARKEN_API_KEY": key}
    return subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_curl(contract: Contract, talk: Path) -> None:
    done = run(contract, EXAMPLES / "transcribe.sh", talk, "srt")
    assert done.returncode == 0, done.stderr
    assert '"model":"tiny"' in done.stdout
    assert (contract.calls[0]["name"], contract.calls[0]["format"]) == ("a talk.wav", "srt")
    refused = run(contract, EXAMPLES / "transcribe.sh", talk, key="")
    assert refused.returncode == 22
    assert "not_authenticated" in refused.stdout


def test_python(contract: Contract, talk: Path) -> None:
    done = run(contract, sys.executable, EXAMPLES / "transcribe.py", talk)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("41644 bytes")
    assert done.stdout.splitlines()[-1].strip() == "word1"
    refused = run(contract, sys.executable, EXAMPLES / "transcribe.py", talk, key="")
    assert (refused.returncode, refused.stderr) == (1, "error: There is no valid key. Send one.\n")


def test_node(contract: Contract, talk: Path) -> None:
    done = run(contract, "node", "--experimental-websocket", EXAMPLES / "transcribe.mjs", talk)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("41644 bytes")
    assert done.stdout.splitlines()[1].startswith("0.00 0.40 ")
    assert done.stdout.splitlines()[-1].strip() == "word1"
    refused = run(contract, "node", EXAMPLES / "transcribe.mjs", talk, key="")
    assert refused.returncode == 1
    assert "error: There is no valid key. Send one." in refused.stderr
