"""The pre-commit hook and the GitHub Action, run as those two would run them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harken.core import Utterance
from harken.evaluation.report import EvaluationReport, build_report
from harken.evaluation.report_files import write_report

ROOT = Path(__file__).resolve().parents[2]
HOOK: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))[0]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def make_report(wrong_every: int) -> EvaluationReport:
    """400 utterances of ten speakers; in every `wrong_every`-th one word of five is wrong."""
    utterances = [
        Utterance(id=f"u{n:03d}", audio="/a.wav", duration_s=1.0, text="a b c d e", speaker=f"s{n % 10}")
        for n in range(400)
    ]
    texts = {one.id: "a b x d e" if n // 10 % wrong_every == 0 else "a b c d e" for n, one in enumerate(utterances)}
    return build_report(utterances, texts)


@pytest.fixture
def path_with_harken(tmp_path: Path) -> dict[str, str]:
    """An environment in which `harken` is the command of this checkout, as an installation would put it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f"#!{sys.executable}\nfrom harken.cli.main import main\n\nmain()\n"
    (folder / "harken").write_text(script, encoding="utf-8")
    (folder / "harken").chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


# The hook


def test_the_hook_is_complete() -> None:
    assert HOOK["id"] == "harken-compare"
    assert HOOK["language"] == "python"  # pre-commit installs Harken by itself
    assert HOOK["pass_filenames"] is False
    pattern = re.compile(HOOK["files"])
    assert pattern.search("reports/new/report.json")
    assert pattern.search("reports/new/utterances.jsonl")
    assert not pattern.search("data/train.jsonl")


def git(
    folder: Path, *arguments: str, environment: dict[str, str], check: bool = True
) -> subprocess.CompletedProcess[str]:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=check
    )


def test_a_worse_model_cannot_be_committed(tmp_path: Path, path_with_harken: dict[str, str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", environment=path_with_harken)
    script = work / ".git" / "hooks" / "pre-commit"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\nexec {HOOK['entry']} reports/baseline reports/candidate\n", encoding="utf-8")
    script.chmod(0o755)

    def commit(wrong_every: int, message: str) -> subprocess.CompletedProcess[str]:
        write_report(make_report(wrong_every), work / "reports" / "candidate")
        git(work, "add", "-A", environment=path_with_harken)
        return git(work, "commit", "-q", "-m", message, environment=path_with_harken, check=False)

    def subjects() -> list[str]:
        return git(work, "log", "--format=%s", environment=path_with_harken).stdout.splitlines()

    write_report(make_report(5), work / "reports" / "baseline")
    better = commit(8, "a better model")
    assert better.returncode == 0, better.stderr
    assert subjects() == ["a better model"]
    worse = commit(2, "a worse model")
    assert worse.returncode != 0
    assert "REGRESSION: 6.00 points worse where 0.5 is allowed" in worse.stdout + worse.stderr
    assert subjects() == ["a better model"]


# The action


def test_every_input_is_used_and_every_action_is_pinned() -> None:
    steps = ACTION["runs"]["steps"]
    assert ACTION["runs"]["using"] == "composite"
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    for name in ACTION["inputs"]:
        assert f"${{{{ inputs.{name} }}}}" in text, name
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    for step in steps:
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
        else:
            assert step["shell"] == "bash"
            assert "${{" not in step["run"]  # values come by the environment, where quotes cannot hurt
    pinned = re.findall(r"uses: (\S+) # v\d+\.\d+\.\d+$", text, re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert pinned == [step["uses"] for step in steps if "uses" in step]
    assert all(use in workflow for use in pinned)
    assert [ACTION["inputs"][name].get("required", False) for name in ("baseline", "candidate")] == [True, True]
    assert all("default" in value for value in ACTION["inputs"].values() if not value.get("required"))


@pytest.mark.parametrize(
    ("wrong_every", "strict", "verdict", "code"),
    [(2, "false", "regression", 1), (8, "true", "pass", 0), (None, "false", "", 3)],
)
def test_the_action_compares(
    tmp_path: Path, path_with_harken: dict[str, str], wrong_every: int | None, strict: str, verdict: str, code: int
) -> None:
    baseline, candidate = tmp_path / "base line's", tmp_path / "-candidate"
    write_report(make_report(5), baseline)
    if wrong_every is not None:
        write_report(make_report(wrong_every), candidate)
    step = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "compare")
    values = {"baseline": str(baseline), "candidate": candidate.name, "max-regression": "0.5", "strict": strict}
    given = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: values[m[1]], text)
        for name, text in step["env"].items()
    }
    files = {"GITHUB_STEP_SUMMARY": tmp_path / "summary", "GITHUB_OUTPUT": tmp_path / "output"}
    environment = {**path_with_harken, **given, "RUNNER_TEMP": str(tmp_path), **{k: str(v) for k, v in files.items()}}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    if verdict:
        assert files["GITHUB_OUTPUT"].read_text(encoding="utf-8") == f"verdict={verdict}\n"
        assert files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8").startswith(f"### Word error rate: {verdict}\n")
        assert json.loads((tmp_path / "harken-compare.json").read_text(encoding="utf-8"))["verdict"] == verdict
    else:
        assert "-candidate does not exist" in done.stderr
        assert not files["GITHUB_OUTPUT"].exists()
