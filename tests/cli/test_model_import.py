"""`harken models import`: a .nemo file becomes a folder that gives NeMo's scores, and a start for training."""

import json
import sys
import tarfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import harken as package
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.torch_engine import TorchCtcScorer
from harken.models.description import read_description
from harken.models.folder import load_model
from harken.testing import random_whisper

sys.path.insert(0, str(Path(__file__).parents[1] / "models/nemo"))
import synthetic_nemo  # noqa: E402  made for the importer's own tests

Harken = Callable[..., Any]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(synthetic_nemo.GOLDEN.read_text(encoding="utf-8"))
    return data


@pytest.fixture
def nemo_file(tmp_path: Path, golden: dict[str, Any]) -> Callable[..., Path]:
    """Writes a .nemo file; `changes` replace parts of its configuration."""

    def write(model: str, name: str = "model.nemo", **changes: Any) -> Path:
        tokenizers = golden["tokenizers"]
        config = synthetic_nemo.make_config(model, tokenizers)
        state, files = synthetic_nemo.make_state(config), synthetic_nemo.make_files(model, tokenizers)
        return synthetic_nemo.write_nemo(tmp_path / name, config | changes, state, files)

    return write


@pytest.mark.parametrize("model", ["conformer", "fastconformer"])
def test_the_folder_gives_the_scores_nemo_gives(
    harken: Harken, nemo_file: Callable[..., Path], golden: dict[str, Any], tmp_path: Path, model: str
) -> None:
    assert harken("models", "import", nemo_file(model), "--out", tmp_path / "out").code == 0
    recognizer = package.load(tmp_path / "out", config=EngineConfig(device="cpu"))
    assert isinstance(recognizer, CtcRecognizer)
    assert isinstance(recognizer.scorer, TorchCtcScorer)
    for signal, expected in zip(synthetic_nemo.waveforms(), golden["scores"][model], strict=True):
        features = torch.from_numpy(recognizer.extractor(signal))[None]
        with torch.no_grad():
            logits, lengths = recognizer.scorer.model(features, torch.tensor([features.shape[1]]))
        scores = logits[0, : int(lengths)].log_softmax(-1)
        theirs = np.roll(np.asarray(expected), 1, axis=1)  # NeMo has the blank last
        assert float((scores - torch.from_numpy(theirs)).abs().max()) < 1e-4
        if model == "conformer":
            letters = "".join(synthetic_nemo.LABELS[i - 1] for i, _ in groupby(theirs.argmax(axis=1)) if i)
            assert recognizer.transcribe(signal).text == " ".join(letters.split())


def test_what_was_written_is_said(harken: Harken, nemo_file: Callable[..., Path], tmp_path: Path) -> None:
    path = nemo_file("conformer", "stt_hi_conformer_ctc_small.nemo")
    answer = harken("models", "import", path, "--out", tmp_path / "hindi", "--normalizer", "hindi")
    assert answer.code == 0
    parameters = sum(p.numel() for p in load_model(tmp_path / "hindi").model.parameters())
    assert answer.out.splitlines() == [
        "family       nemo-conformer-ctc",
        f"parameters   {parameters:,}",
        "tokenizer    CharTokenizer, 5 units and the blank",
        "features     20 log-mel energies at 16000 Hz, normalised per-feature",
        "normalizer   hindi",
        "languages    hi",
        f"model        {tmp_path / 'hindi'}",
    ]
    assert read_description(tmp_path / "hindi").normalizer == "hindi"


def test_json_is_the_description_and_the_folder(harken: Harken, nemo_file: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "a/b"
    found = harken("models", "import", nemo_file("fastconformer"), "--out", out, "--json").json
    written = json.loads((out / "harken.json").read_text(encoding="utf-8"))
    assert found == {"folder": str(out), **{key: value for key, value in written.items() if key != "weights_sha256"}}
    assert (found["tokenizer"], found["vocab_size"], found["languages"]) == ("SentencePieceTokenizer", 41, [])


def test_what_is_in_the_way_is_left_alone(harken: Harken, nemo_file: Callable[..., Path], tmp_path: Path) -> None:
    path = nemo_file("conformer")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    full = harken("models", "import", path, "--out", tmp_path / "full")
    assert (full.code, full.out) == (2, "")
    assert "full is not empty. Choose a new folder with --out." in full.err
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["notes.txt"]
    in_the_way = harken("models", "import", path, "--out", tmp_path / "file")
    assert in_the_way.code == 2
    assert f"{tmp_path / 'file'} is a file." in in_the_way.err
    assert harken("models", "import", path, "--out", tmp_path / "empty").code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "nemo.collections.asr.models.EncDecRNNTBPEModel"}, "is a EncDecRNNTBPEModel; the import knows CTC"),
        ({"encoder": {"_target_": "a.b.SqueezeformerEncoder"}}, "its encoder is a SqueezeformerEncoder"),
        ({"tokenizer": {"type": "agg", "langs": {}}}, "several tokenizers, one for each language"),
    ],
)
def test_a_model_that_cannot_be_imported_leaves_no_folder(
    harken: Harken, nemo_file: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    answer = harken("models", "import", nemo_file("conformer", **changes), "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model(harken: Harken, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.nemo", "w") as tar:
        tar.addfile(tarfile.TarInfo("readme"))
    (tmp_path / "text.nemo").write_text("not a tar")
    for name, words in [
        ("absent.nemo", "does not exist. Give a .nemo file."),
        ("text.nemo", "is not a readable .nemo archive"),
        ("other.nemo", "is no NeMo model: it has no model_config.yaml."),
    ]:
        answer = harken("models", "import", tmp_path / name, "--out", tmp_path / "out")
        assert answer.code == 2
        assert words in answer.err
    assert not (tmp_path / "out").exists()


def test_a_misspelled_profile_is_found_before_the_work(
    harken: Harken, nemo_file: Callable[..., Path], tmp_path: Path
) -> None:
    answer = harken("models", "import", nemo_file("conformer"), "--out", tmp_path / "out", "--normalizer", "hindu")
    assert answer.code == 2
    assert "There is no normalisation profile 'hindu'" in answer.err
    assert not (tmp_path / "out").exists()


def test_training_goes_on_from_the_folder(
    harken: Harken, nemo_file: Callable[..., Path], corpus: Path, tmp_path: Path
) -> None:
    """With the checkpoint's own tokenizer and features; the twelve noises are long enough for pieces."""
    assert harken("models", "import", nemo_file("fastconformer"), "--out", tmp_path / "start").code == 0
    recipe = tmp_path / "recipe.yaml"
    data = {part: str(corpus / "train.jsonl") for part in ("train", "validation")}
    training = {"updates": 2, "evaluate_every": 1, "threads": 1, "device": "cpu"}
    recipe.write_text(
        json.dumps(
            {
                "name": "further",
                "data": data,
                "model": {"initial": str(tmp_path / "start")},
                "optimizer": {"learning_rate": 1e-3},
                "training": training,
            }
        )
    )
    answer = harken("train", recipe, "--out", tmp_path / "run", "--json")
    assert answer.code == 0, answer.err
    assert (answer.json["updates"], answer.json["rejected"]) == (2, {})
    start, end = load_model(tmp_path / "start"), load_model(tmp_path / "run/model")
    assert (end.description.family, end.features) == ("nemo-conformer-ctc", start.features)
    for file in ("tokenizer.model", "vocab.json", "tokenizer_config.json"):
        assert (tmp_path / "run/model" / file).read_bytes() == (tmp_path / "start" / file).read_bytes()
    losses = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["val_loss"] for line in losses if "val_loss" in line]
    assert losses[-1] < losses[0]


def test_a_whisper_of_transformers_is_imported_and_transcribes(harken: Harken, tmp_path: Path) -> None:
    random_whisper(tmp_path / "hub", init_std=0.3)
    sound = tmp_path / "a.wav"
    soundfile.write(sound, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    refused = harken("transcribe", sound, "--model", tmp_path / "hub")
    assert f"harken models import {tmp_path / 'hub'} --out NEW" in refused.err
    answer = harken("models", "import", tmp_path / "hub", "--out", tmp_path / "model", "--language", "uz")
    assert answer.code == 0, answer.err
    assert "family       whisper" in answer.out
    assert "features     80 log-mel energies at 16000 Hz, normalised none" in answer.out
    assert "languages    uz" in answer.out
    assert harken("transcribe", sound, "--model", tmp_path / "model", "--language", "uz").code == 0
    again = harken("models", "import", tmp_path / "hub", "--out", tmp_path / "model")
    assert (again.code, "is not empty" in again.err) == (2, True)


def test_what_cannot_be_imported(harken: Harken, nemo_file: Callable[..., Path], tmp_path: Path) -> None:
    absent = harken("models", "import", "./absent", "--out", tmp_path / "out")
    assert (absent.code, "does not exist" in absent.err) == (3, True)
    told = harken("models", "import", nemo_file("conformer"), "--out", tmp_path / "out", "--language", "uz")
    assert (told.code, "which does not take it" in told.err) == (2, True)
    assert not (tmp_path / "out").exists()
