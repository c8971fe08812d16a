"""`harken export`: a table, a record for machines, and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner, Result

from harken.audio.features import FeatureConfig
from harken.cli.export import export
from harken.core import InputError
from harken.models.folder import describe, save_model
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.text.tokenize import WordTokenizer

app = typer.Typer()
app.command("export")(export)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = RecurrentSettings(width=16, layers=1)
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
    tokenizer = WordTokenizer(["<pad>", "one", "two"])
    torch.manual_seed(3)
    model = RecurrentCtc(settings, features.dimensions, tokenizer.vocab_size)
    description = describe(
        model, family="recurrent-ctc", settings=settings, features=features, tokenizer=tokenizer, normalizer="basic"
    )
    save_model(tmp_path / "model", model=model, description=description, tokenizer=tokenizer)
    noise = 0.2 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(tmp_path / "noise.wav", noise.clip(-1, 1), 16_000)
    return tmp_path / "model"


@pytest.fixture
def run(folder: Path) -> Callable[..., Result]:
    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, [str(folder), "--audio", str(folder.parent / "noise.wav"), *arguments])

    return call


def test_a_table_of_targets(run: Callable[..., Result], folder: Path) -> None:
    result = run("--to", "onnx,tokens")
    assert result.exit_code == 0
    heading, onnx, tokens = result.stdout.splitlines()
    assert heading.split() == [
        "target", "size", "clips", "max", "|Δ", "log", "p|", "texts", "differ", "CER", "WER", "made", "by",
    ]  # fmt: skip
    assert onnx.startswith("onnx ")
    assert "0 of 6" in onnx
    assert onnx.endswith("torch.jit.trace")
    assert tokens.startswith("tokens")
    assert (folder / "onnx/tokens.txt").is_file()


def test_the_same_for_machines(run: Callable[..., Result], folder: Path) -> None:
    result = run("--to", "onnx", "--json")
    (found,) = json.loads(result.stdout)["exports"]
    assert found["target"] == "onnx"
    assert found["path"] == str(folder / "onnx/model.onnx")
    assert found["bytes"] == (folder / "onnx/model.onnx").stat().st_size
    assert found["parity"]["largest_difference"] < 1e-4
    assert found["parity"]["wer"] is None


def test_two_kinds_of_audio_are_one_too_many(run: Callable[..., Result]) -> None:
    result = run("--data", "manifest.jsonl")
    assert isinstance(result.exception, InputError)
    assert "--data and --audio are both given" in str(result.exception)


def test_settings_are_checked(run: Callable[..., Result]) -> None:
    assert "clips is 0; use 1 or more" in str(run("--clips", "0").exception)
    assert "'onxx' is not a target" in str(run("--to", "onxx").exception)
