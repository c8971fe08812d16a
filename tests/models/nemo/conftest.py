"""Fixtures of the .nemo tests; the files come from synthetic_nemo.py beside this one."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_nemo  # noqa: E402  tests run without packages, so the folder has to be on the path first


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(synthetic_nemo.GOLDEN.read_text(encoding="utf-8"))
    return data


@pytest.fixture
def nemo_file(tmp_path: Path, golden: dict[str, Any]) -> Callable[..., Path]:
    """Writes a model under tmp_path; `change(config, state, files)` may spoil it first."""

    def write(
        model: str = "conformer",
        change: Callable[[dict[str, Any], dict[str, Tensor], dict[str, bytes]], None] | None = None,
        *,
        name: str = "",
        mode: str = "w",
        head: str = "decoder",
    ) -> Path:
        config = synthetic_nemo.make_config(model, golden["tokenizers"])
        state, files = (
            synthetic_nemo.make_state(config, head=head),
            synthetic_nemo.make_files(model, golden["tokenizers"]),
        )
        if change is not None:
            change(config, state, files)
        return synthetic_nemo.write_nemo(tmp_path / (name or f"{model}.nemo"), config, state, files, mode=mode)

    return write


@pytest.fixture
def signals() -> list[np.ndarray]:
    return synthetic_nemo.waveforms()
