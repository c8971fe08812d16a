"""What the door does with errors: a message with the next step, an exit code for each family, no traceback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raises(*_: object) -> None:
        raise error

    monkeypatch.setattr("harken.models.description.read_description", raises)


@pytest.mark.parametrize(
    ("error", "code"), [(InputError, 2), (MissingPart, 3), (RunFailed, 4), (ServiceRefused, 5), (HarkenError, 1)]
)
def test_each_family_has_its_exit_code(
    harken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: type[HarkenError], code: int
) -> None:
    fail_with(monkeypatch, error("It went wrong.", hint="Do this."))
    answer = harken("models", "show", "x")
    assert (answer.code, answer.out, answer.err) == (code, "", "error: It went wrong. Do this.\n")


def test_a_disk_that_refuses_is_no_traceback(harken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, OSError(28, "No space left on device", "/disk/model"))
    answer = harken("models", "show", "x")
    assert answer.code == 4
    assert answer.err.startswith("error: /disk/model: No space left on device. Check the path")
    with pytest.raises(OSError, match="No space"):
        harken("-v", "models", "show", "x")


def test_a_bug_shows_its_traceback(harken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        harken("models", "show", "x")


def test_ctrl_c_ends_with_130(harken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    assert harken("models", "show", "x").code == 130


def test_the_installed_command_answers(corpus: Path) -> None:
    """The whole way once, in a process of its own: exit code, streams, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "harken.cli.main", "models", "show", "nowhere"],
        cwd=corpus,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == "error: nowhere does not exist. Give the model/ folder of a finished run.\n"


def test_ctrl_c_in_the_middle_of_the_work(corpus: Path, tmp_path: Path) -> None:
    """A real signal, once the first file is there: 130, one line, nothing half-written, no list of undone work."""
    line = (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines()[0].replace("00.wav", f"{corpus}/00.wav")
    (tmp_path / "many.jsonl").write_text(
        "".join(line.replace("clip-00", f"clip-{n}") + "\n" for n in range(5_000)), encoding="utf-8"
    )
    # A shell that starts the tests in the background makes its children deaf to SIGINT.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from harken.cli.main import main; main()"
    options = ("data", "augment", "many.jsonl", "-o", "out", "--set", "noise.probability=1", "--threads", "2")
    process = subprocess.Popen(
        [sys.executable, "-c", program, *options],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/audio/*/*.flac")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        told, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, told, complaint) == (130, "", "error: Interrupted.\n")
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    assert not list(tmp_path.rglob(".*"))
    assert 0 < len(list(tmp_path.glob("out/audio/*/*.flac"))) < 5_000
