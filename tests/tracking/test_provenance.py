"""What a result depends on, recorded quickly and without secrets."""

import hashlib
import json
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from harken.tracking import provenance
from harken.tracking.provenance import clean_command, collect_provenance, git_facts, installed_packages, thread_facts


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text("x = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def test_a_clean_checkout(checkout: Path) -> None:
    assert git_facts(checkout) == {
        "commit": git(checkout, "rev-parse", "HEAD"),
        "branch": "main",
        "dirty": False,
        "untracked": [],
        "diff_sha256": None,
        "diff_file": None,
    }


def test_changes_are_saved_and_can_be_applied(checkout: Path, tmp_path: Path) -> None:
    (checkout / "a.py").write_text("x = 2\n")
    (checkout / "new file ü.bin").write_bytes(b"\x00\x01")
    git(checkout, "add", "new file ü.bin")
    (checkout / "loose notes.txt").write_text("not added")
    saved = tmp_path / "run/code.diff"
    facts = git_facts(checkout, diff_file=saved)
    assert (facts["dirty"], facts["untracked"], facts["diff_file"]) == (True, ["loose notes.txt"], "code.diff")
    assert facts["diff_sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert git_facts(checkout)["diff_sha256"] == facts["diff_sha256"]
    clean = tmp_path / "clean"
    git(tmp_path, "clone", "-q", str(checkout), str(clean))
    git(clean, "apply", str(saved))
    assert (clean / "a.py").read_text() == "x = 2\n"
    assert (clean / "new file ü.bin").read_bytes() == b"\x00\x01"


def test_untracked_files_alone_make_it_dirty(checkout: Path, tmp_path: Path) -> None:
    (checkout / "b.py").write_text("")
    facts = git_facts(checkout, diff_file=tmp_path / "none.diff")
    assert (facts["dirty"], facts["untracked"], facts["diff_sha256"]) == (True, ["b.py"], None)
    assert not (tmp_path / "none.diff").exists()


def test_a_detached_head_has_no_branch(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "--detach")
    facts = git_facts(checkout)
    assert (facts["branch"], facts["commit"]) == (None, git(checkout, "rev-parse", "HEAD"))


def test_without_a_commit_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_facts(None) == {"commit": None, "branch": None, "dirty": None, "reason": "no repository was given"}
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    facts = git_facts(tmp_path)
    assert facts["commit"] is None
    assert "not a git repository" in facts["reason"]
    assert git_facts(tmp_path / "absent")["commit"] is None
    git(tmp_path, "init", "-q")
    assert "repository without a commit" in git_facts(tmp_path)["reason"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_facts(tmp_path)["reason"] == "git is not installed"


def test_a_slow_git_is_given_up(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_GIT_TIMEOUT_S", 0.0)
    assert "git took more than" in git_facts(checkout)["reason"]


def test_packages_are_what_pip_would_freeze() -> None:
    found = installed_packages()
    assert f"numpy=={version('numpy')}" in found
    assert f"PyYAML=={version('PyYAML')}" in [line.replace("pyyaml", "PyYAML") for line in found]
    assert found == sorted(found, key=str.lower)
    assert len(found) == len(set(found))


def test_threads_asked_for_and_used() -> None:
    facts = thread_facts({"OMP_NUM_THREADS": "3"})
    assert (facts["OMP_NUM_THREADS"], facts["MKL_NUM_THREADS"]) == ("3", None)
    torch = sys.modules.get("torch")
    assert facts["torch"] == (torch.get_num_threads() if torch else None)


def test_secrets_stay_out() -> None:
    command = [
        "harken", "train", "r.yaml", "hub.token=abc", "--api-key", "abc", "--password=abc", "training.updates=5",
        "--tracking", "http://me:abc@host:5000/x", "--secret", "--verbose", "s3://abc@bucket",
    ]  # fmt: skip
    cleaned = clean_command(command)
    assert "abc" not in " ".join(cleaned)
    assert cleaned == [
        "harken", "train", "r.yaml", "hub.token=***", "--api-key", "***", "--password=***", "training.updates=5",
        "--tracking", "http://***@host:5000/x", "--secret", "--verbose", "s3://***@bucket",
    ]  # fmt: skip


def test_everything_together_quickly_and_as_json(checkout: Path) -> None:
    began = time.perf_counter()
    facts = collect_provenance(
        repository=checkout,
        data={"train": {"sha256": "ab"}},
        seeds={"run": 42},
        command=["harken", "train", "my recipe.yaml"],
        environment={"OMP_NUM_THREADS": "1", "AWS_SECRET_ACCESS_KEY": "hunter2", "MY_TOKEN": "hunter2", "TZ": "UTC"},
    )
    took_s = time.perf_counter() - began
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert "hunter2" not in json.dumps(facts)
    assert facts["command"] == "harken train 'my recipe.yaml'"
    assert facts["environment"] == {"OMP_NUM_THREADS": "1", "TZ": "UTC"}
    assert (facts["data"], facts["seeds"]) == ({"train": {"sha256": "ab"}}, {"run": 42})
    assert facts["python"]["version"] == platform.python_version()
    assert facts["git"]["branch"] == "main"
    assert took_s < 2.0  # about 0.2 s on an idle machine
