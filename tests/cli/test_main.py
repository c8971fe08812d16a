"""What the door does with errors: a message with the next step, an exit code for each family, no traceback."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raises(*_: object) -> None:
        raise error

    monkeypatch.setattr("harken.models.folder.read_description", raises)


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
    import subprocess

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
