"""Nothing that Harken uses reports to its maker."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import harken, onnxruntime, os
print(os.environ["ORT_DISABLE_TELEMETRY"])
onnxruntime.SessionOptions()
"""


def test_onnx_runtime_keeps_its_reports_to_itself(tmp_path: Path) -> None:
    quiet = {"CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME", "TF_BUILD"}
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment | {"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert list(tmp_path.rglob("*onnxruntime*")) == []  # where it keeps the number that tells machines apart
