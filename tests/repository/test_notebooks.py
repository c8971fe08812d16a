"""Every notebook runs from top to bottom, with small stand-ins for the model and the data that it names."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import Utterance
from harken.data.manifest import write_manifest
from harken.testing import random_wav2vec2

pytest.importorskip("transformers", reason="needs the extra `train`")

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def run(path: Path, **parameters: object) -> str:
    """Execute the code cells in one namespace, `parameters` laid over the cell that is tagged so; what they print."""
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in cells_of(path):
            exec(compile("".join(cell["source"]), str(path), "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", ()):
                unknown = parameters.keys() - namespace.keys()
                assert not unknown, f"{path.name} has no parameter {unknown}"
                namespace |= parameters
    return printed.getvalue()


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    draw, times = np.random.default_rng(0), np.arange(4_000) / 16_000
    tones_hz = {"ah": 400, "bo": 900, "ku": 1800}
    for name, count in (("train", 12), ("validation", 4)):
        utterances = []
        for number in range(count):
            words = draw.choice(list(tones_hz), size=2).tolist()
            sound = np.concatenate([0.3 * np.sin(2 * np.pi * tones_hz[word] * times) for word in words])
            path = tmp_path / f"{name}-{number}.wav"
            soundfile.write(path, sound, 16_000)
            utterances.append(Utterance(id=path.stem, audio=str(path), duration_s=0.5, text=" ".join(words)))
        write_manifest(tmp_path / f"{name}.jsonl", utterances)
    return tmp_path


def test_no_notebook_is_left_out_and_none_holds_outputs() -> None:
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert [path.name for path in paths] == ["fine_tune_xls_r.ipynb"]
    for path in paths:
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells_of(path))


def test_xls_r(tones: Path) -> None:
    random_wav2vec2(tones / "hub", hidden_size=16, num_hidden_layers=1, conv_dim=(8,) * 7, mask_time_prob=0.1)
    printed = run(
        NOTEBOOKS / "fine_tune_xls_r.ipynb",
        MODEL=str(tones / "hub"), TRAIN=str(tones / "train.jsonl"), VALIDATION=str(tones / "validation.jsonl"),
        OUT=str(tones / "run"), EPOCHS=2, PRECISION="fp32",
    )  # fmt: skip
    assert "962 M weights" in printed
    assert "train_utterances     12" in printed
    assert "best WER" in printed
    assert printed.count("epoch ") >= 2
    assert (tones / "run" / "model" / "harken.json").is_file()
