"""The command line as a person meets it: arguments in; exit code, stdout and stderr out."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

RATE_HZ = 16_000
RECIPE = """
name: tiny
data: {train: train.jsonl, validation: train.jsonl, test: train.jsonl}
features: {kind: nemo, dimensions: 20, normalize: mean-scale}
tokenizer: {kind: word}
model: {family: recurrent-ctc, settings: {width: 16, layers: 1}}
batches: {update_s: 6.0, buckets: 2}
training: {updates: 2, evaluate_every: 1, threads: 1, device: cpu}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Harken = Callable[..., Answer]


@pytest.fixture
def harken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Harken]:
    """`harken("data", "stats", path)` runs the command in this process. A traceback fails the test by itself."""
    from harken.cli.main import main

    level = logging.getLogger("harken").level

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["harken", *map(str, arguments)])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return Answer(code=int(code or 0) if not isinstance(code, str) else 1, out=captured.out, err=captured.err)

    yield run
    logging.getLogger("harken").setLevel(level)


def run_harken(*arguments: object, folder: Path) -> Answer:
    """The command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HARKEN_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "harken.cli.main", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Answer(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve short noises, their manifest train.jsonl (three speakers) and recipe.yaml."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(1)
    lines = []
    for number in range(12):
        samples = 8_000 + 700 * number
        soundfile.write(folder / f"{number:02d}.wav", 0.1 * generator.standard_normal(samples), RATE_HZ)
        lines.append(
            {
                "id": f"clip-{number:02d}",
                "audio": f"{number:02d}.wav",
                "duration_s": samples / RATE_HZ,
                "text": ("one", "two", "three")[number % 3],
                "speaker": ("anna", "ben", "cleo")[number // 4],
            }
        )
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A finished run of two updates, and what `harken train --json` said about it."""
    folder = tmp_path_factory.mktemp("trained")
    answer = run_harken("train", corpus / "recipe.yaml", "--out", folder / "runs" / "tiny", "--json", folder=folder)
    assert answer.code == 0, answer.err
    return folder / "runs" / "tiny", answer


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Answer]) -> Path:
    return trained[0] / "model"


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    from harken.models.pretrained import load_pretrained
    from harken.models.pretrained_import import save_parts
    from harken.testing import random_whisper

    folder = tmp_path_factory.mktemp("whisper")
    random_whisper(folder / "hub", init_std=0.3)
    parts = load_pretrained(folder / "hub")
    save_parts(parts, folder / "model", normalizer="basic")
    return folder / "model"
