"""Every command explains itself, and quickly: nothing heavy is loaded for it."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

COMMANDS = [
    ["demo"],
    ["data"],
    *(
        ["data", name]
        for name in (
            "import",
            "validate",
            "stats",
            "split",
            "compose",
            "version",
            "verify",
            "augment",
            "preview",
            "shard",
        )
    ),
    ["bench"],
    ["bench", "inference"],
    ["bench", "streaming"],
    ["export"],
    ["stream"],
    ["lm"],
    ["lm", "build"],
    ["train"],
    ["plan"],
    ["search"],
    ["evaluate"],
    ["score"],
    ["compare"],
    ["transcribe"],
    ["models"],
    *(["models", name] for name in ("import", "variants", "list", "show", "register", "promote", "push", "swap")),
    ["runs"],
    ["runs", "list"],
    ["runs", "show"],
    ["serve"],
    ["worker"],
    ["tokens"],
    *(["tokens", name] for name in ("create", "list", "revoke")),
    ["doctor"],
]
HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "soundfile",
    "av",
    "onnxruntime",
    "matplotlib",
    "mlflow",
    "datasets",
    "fastapi",
    "sqlalchemy",
    "uvicorn",
)


def test_the_list_above_is_complete() -> None:
    from typer.main import get_command

    from harken.cli.main import app

    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, below] for below in getattr(command, "commands", {})]
    assert sorted(found) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_every_command(harken: Callable[..., Any], command: list[str], option: str) -> None:
    answer = harken(*command, option)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: harken {' '.join(command)}")
    assert len(answer.out.splitlines()) > 4  # more than the usage


def test_help_loads_nothing_heavy() -> None:
    """In one fresh process: the list of commands, then every command's help."""
    script = f"""
import json, sys
from harken.cli.main import main
loaded = {{}}
for command in {[[], *COMMANDS]!r}:
    sys.argv = ["harken", *command, "--help"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, command
    loaded[" ".join(command)] = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps(loaded), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert {command: heavy for command, heavy in json.loads(done.stderr).items() if heavy} == {}


def test_without_a_command_the_help_is_shown(harken: Callable[..., Any]) -> None:
    for group in ([], ["data"], ["models"], ["runs"]):
        answer = harken(*group)
        assert "Usage: harken" in answer.out + answer.err
        assert answer.code in (0, 2)


def test_a_misspelled_command_names_the_near_one(harken: Callable[..., Any]) -> None:
    answer = harken("evaluat")
    assert answer.code == 2
    assert "Did you mean 'evaluate'" in answer.err
    assert answer.out == ""


def test_version(harken: Callable[..., Any]) -> None:
    from harken import __version__

    assert harken("--version").out == f"harken {__version__}\n"


def test_a_wrong_log_level_is_refused(harken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    answer = harken("runs", "list")
    assert answer.code == 2
    assert answer.err == "error: LOG_LEVEL is 'LOUD'. Use DEBUG, INFO, WARNING or ERROR.\n"
