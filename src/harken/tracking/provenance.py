"""What a result depends on: code, data, packages, hardware, threads, seeds.

Collecting takes a fraction of a second and never fails for something that is absent: it is recorded as null with the
reason beside it. Secrets stay out: the environment is a list of named variables, and the command line is cleaned.
"""

import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from harken.core.files import replacing
from harken.tracking.hardware import hardware_facts

ENVIRONMENT = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "HARKEN_HOME",
    "HF_HOME",
    "LANG",
    "LC_ALL",
    "LOCAL_RANK",
    "MKL_NUM_THREADS",
    "NCCL_ALGO",
    "NCCL_PROTO",
    "NUMBA_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "RANK",
    "RAYON_NUM_THREADS",
    "TZ",
    "WORLD_SIZE",
)
"""Variables that can change a result, or where it is read from. Nothing else of the environment is recorded."""

_GIT_TIMEOUT_S = 10
_UNTRACKED_SHOWN = 50
_SECRET = re.compile(r"(token|passw|secret|api[-_]?key|credential|authorization)", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^/@\s]+@")


def collect_provenance(
    *,
    repository: Path | None,
    data: Mapping[str, Any],
    seeds: Mapping[str, int],
    diff_file: Path | None = None,
    command: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything a run should remember, ready for JSON.

    `repository` is a folder inside the git checkout whose commit matters, or None. `data` maps what was read to its
    hashes, `seeds` names to seeds; both are recorded as given. `diff_file` receives the changes since the commit, if
    there are any. `command` and `environment` are this process's own unless given.
    """
    variables = os.environ if environment is None else environment
    return {
        "git": git_facts(repository, diff_file=diff_file),
        "data": dict(data),
        "seeds": dict(seeds),
        "command": shlex.join(clean_command(sys.argv if command is None else command)),
        "working_folder": str(Path.cwd()),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "packages": installed_packages(),
        "platform": platform.platform(),
        "hardware": hardware_facts(),
        "threads": thread_facts(variables),
        "environment": {name: clean_text(variables[name]) for name in ENVIRONMENT if name in variables},
    }


def git_facts(folder: Path | None, *, diff_file: Path | None = None) -> dict[str, Any]:
    """Commit, branch and uncommitted changes of the checkout around `folder`.

    {"commit", "branch", "dirty", "untracked", "diff_sha256", "diff_file"}; where there is no commit to name, "commit"
    is None and "reason" says why. `diff_sha256` is of `git diff HEAD`, which knows tracked files only; the names of
    untracked ones are listed (at most 50).
    """
    nothing: dict[str, Any] = {"commit": None, "branch": None, "dirty": None}
    if folder is None:
        return {**nothing, "reason": "no repository was given"}
    try:
        status = _git(folder, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal")
    except _GitFailed as err:
        return {**nothing, "reason": str(err)}
    entries = status.decode(errors="replace").split("\0")
    heads = dict(entry[2:].split(" ", 1) for entry in entries if entry.startswith("# branch.") and " " in entry[2:])
    commit = heads.get("branch.oid", "(initial)")
    if commit == "(initial)":
        return {**nothing, "reason": f"{folder} is in a repository without a commit"}
    branch = heads.get("branch.head")
    untracked = [entry[2:] for entry in entries if entry.startswith("? ")]
    changed = any(entry[:2] in ("1 ", "2 ", "u ") for entry in entries)
    facts: dict[str, Any] = {
        "commit": commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": changed or bool(untracked),
        "untracked": untracked[:_UNTRACKED_SHOWN],
        "diff_sha256": None,
        "diff_file": None,
    }
    if not changed:
        return facts
    try:
        diff = _git(folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")
    except _GitFailed as err:
        return {**facts, "reason": f"the changes could not be read: {err}"}
    if diff_file is not None:
        with replacing(diff_file) as file:
            file.write(diff)
    return {
        **facts,
        "diff_sha256": hashlib.sha256(diff).hexdigest(),
        "diff_file": None if diff_file is None else diff_file.name,
    }


def installed_packages() -> list[str]:
    """`name==version` of every installed distribution, sorted by name without regard to case."""
    found = {f"{point.name}=={point.version}" for point in distributions() if point.metadata["Name"]}
    return sorted(found, key=lambda line: (line.lower(), line))


def thread_facts(environment: Mapping[str, str]) -> dict[str, Any]:
    """Threads of the numerical libraries: what the environment asks for and, if torch is loaded, what it uses."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    facts: dict[str, Any] = {name: environment.get(name) for name in names}
    torch = sys.modules.get("torch")
    loaded = torch is not None and hasattr(torch, "get_num_threads")
    facts["torch"] = torch.get_num_threads() if loaded and torch else None
    facts["torch_interop"] = torch.get_num_interop_threads() if loaded and torch else None
    return facts


def clean_command(arguments: Sequence[str]) -> list[str]:
    """A command line without the values of options and settings that sound like secrets, and without URL users."""
    cleaned: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("-"):
            cleaned.append("***")
            hide_next = False
            continue
        secret = bool(_SECRET.search(name))
        cleaned.append(f"{name}=***" if secret and equals else clean_text(argument))
        hide_next = secret and not equals and argument.startswith("-")
    return cleaned


def clean_text(text: str) -> str:
    """Text without the `user:password@` of URLs in it."""
    return _URL_USER.sub("***@", text)


class _GitFailed(Exception):  # noqa: N818 - turned into a reason, never shown as an error
    """Why git gave no answer."""


def _git(folder: Path, *arguments: str) -> bytes:
    # No optional locks: asking must not write the index of a checkout somebody is working in.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_GIT_TIMEOUT_S, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError as err:
        raise _GitFailed("git is not installed") from err
    except subprocess.TimeoutExpired as err:
        raise _GitFailed(f"git took more than {_GIT_TIMEOUT_S} s") from err
    except OSError as err:
        raise _GitFailed(f"git could not be started: {err}") from err
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
        raise _GitFailed(f"git: {said}")
    return done.stdout
