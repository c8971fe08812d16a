"""`harken bench streaming`: a model in batches, in a single pass and as streams."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from harken.audio.features import FeatureConfig
from harken.core import Utterance
from harken.data.manifest import write_manifest
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.folder import describe, load_model, save_model
from harken.models.pretrained import load_pretrained
from harken.models.pretrained_import import save_parts
from harken.testing import random_whisper
from harken.text.tokenize import WordTokenizer

Harken = Callable[..., Any]
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def conformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a random Conformer with chunks, whose outputs are far apart: it hears words in noise."""
    folder = tmp_path_factory.mktemp("streaming") / "model"
    tokenizer = WordTokenizer(["<pad>", "one", "two", "three"])
    settings = ConformerSettings(width=16, layers=1, heads=2, chunk_frames=4, left_chunks=2, input_mean=-5.0)
    torch.manual_seed(0)
    network = ConformerCtc(settings, 20, tokenizer.vocab_size)
    with torch.no_grad():
        network.output.weight.mul_(30)
        network.output.bias[0] += 2
    features = FeatureConfig(kind="nemo", dimensions=20)
    description = describe(
        network, family="conformer-ctc", settings=settings, features=features, tokenizer=tokenizer, normalizer="basic"
    )
    save_model(folder, model=network, description=description, tokenizer=tokenizer)
    return folder


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three noises of 1 to 2 s and their manifest."""
    folder = tmp_path_factory.mktemp("noises")
    generator = np.random.default_rng(3)
    utterances = []
    for number, seconds in enumerate((1.0, 1.5, 2.0)):
        samples = round(seconds * RATE_HZ)
        level = 1 + np.sin(np.arange(samples) / 1500)
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.1 * level * generator.standard_normal(samples), RATE_HZ)
        utterances.append(Utterance(id=f"noise-{number}", audio=str(path), duration_s=seconds, text="one two"))
    write_manifest(folder / "noises.jsonl", utterances)
    return folder


def test_a_table_with_a_row_for_each_way(harken: Harken, conformer: Path, noises: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    options = ["--policy", "cached", "--policy", "fixed", "--chunk", "0.1", "--out", out]
    answer = harken("bench", "streaming", conformer, noises / "noises.jsonl", *options)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "3 utterances, 4.5 s of audio, chunks of 0.1 s, 1 thread"
    assert [line.split("  ")[0] for line in lines[2:6]] == ["batch", "single pass", "cached", "fixed"]
    assert [line.split("  ")[0] for line in lines[8:12]] == ["batch", "single pass", "cached", "fixed"]
    assert f"every number: {out}" in answer.err
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert (figures["chunk_s"], figures["references"], figures["left_out"]) == (0.1, "manifest", {})
    _, single, cached, fixed = figures["modes"]
    assert cached["different_count"] == 0  # the offline pass applies the same mask
    assert cached["wer"] == single["wer"] > 0
    assert cached["timed_words"] > 3
    assert cached["corrections_per_word"] == fixed["corrections_per_word"] == 0  # both tell final words only
    assert fixed["shown_ms"] == fixed["committed_ms"]
    assert cached["committed_ms"]["p50"] < fixed["committed_ms"]["p50"]


def test_without_reference_texts_the_single_pass_is_the_reference(
    harken: Harken, conformer: Path, noises: Path
) -> None:
    answer = harken("bench", "streaming", conformer, noises / "2.wav", "--policy", "cached")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("1 utterance, 2.0 s of audio")
    assert lines[1] == "No reference texts: WER and CER are against the texts of the single pass."
    assert lines[4].split()[:4] == ["single", "pass", "0.00", "0.00"]
    folder = harken("bench", "streaming", conformer, noises, "--policy", "cached", "--json").json
    assert (folder["references"], folder["modes"][0]["utterances"]) == ("single pass", 3)


def test_policies_that_a_model_cannot_follow(harken: Harken, conformer: Path, noises: Path, tmp_path: Path) -> None:
    """They are a note where nobody asked for them, an error where somebody did."""
    loaded = load_model(conformer)
    settings = ConformerSettings(width=16, layers=1, heads=2)
    network = ConformerCtc(settings, 20, loaded.tokenizer.vocab_size)
    description = describe(
        network, family="conformer-ctc", settings=settings, features=loaded.features, tokenizer=loaded.tokenizer,
        normalizer="basic",
    )  # fmt: skip
    save_model(tmp_path / "model", model=network, description=description, tokenizer=loaded.tokenizer)
    answer = harken("bench", "streaming", tmp_path / "model", noises / "0.wav", "--json")
    assert "cached: The model attends to whole utterances" in answer.err
    assert next(iter(answer.json["left_out"])) == "cached"
    assert {"windowed", "fixed"} <= {mode["mode"] for mode in answer.json["modes"]}
    asked = harken("bench", "streaming", tmp_path / "model", noises / "0.wav", "--policy", "cached")
    assert (asked.code, asked.out) == (2, "")
    assert asked.err.startswith("error: The model attends to whole utterances")


def test_whisper_is_told_to_time_its_words(harken: Harken, noises: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    random_whisper(tmp_path / "hub", init_std=0.3, max_target_positions=16)
    parts = load_pretrained(tmp_path / "hub")
    save_parts(parts, tmp_path / "model", normalizer="none")
    answer = harken("bench", "streaming", tmp_path / "model", noises / "0.wav", "--policy", "fixed", "--json")
    assert answer.code == 0, answer.err
    _, single, fixed = answer.json["modes"]
    assert fixed["wer"] == single["wer"] == 0.0  # one window holds all of it
    assert fixed["timed_words"] == single["words"] > 0


@pytest.mark.slow
def test_an_engine_with_a_streaming_export_streams_with_it(
    harken: Harken, conformer: Path, noises: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    model = copytree(conformer, tmp_path / "model")
    bare = harken("bench", "streaming", model, noises / "2.wav", "--engine", "onnx")
    assert (bare.code, bare.out) == (3, "")
    exported = harken("export", model, "--to", "onnx,onnx-streaming", "--audio", noises / "2.wav")
    assert exported.code == 0, exported.err
    options = ["--policy", "cached", "--engine", "onnx", "--json"]
    batch, _, cached = harken("bench", "streaming", model, noises / "noises.jsonl", *options).json["modes"]
    assert (cached["different_count"], cached["wer"]) == (0, batch["wer"])


def test_some_utterances_stand_for_all(harken: Harken, conformer: Path, noises: Path) -> None:
    options = ["--policy", "fixed", "--utterances", "2", "--json"]
    figures = harken("bench", "streaming", conformer, noises / "noises.jsonl", *options).json
    assert figures["modes"][0]["audio_s"] == 2.5  # the first and the second of three


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["empty.jsonl"], "empty.jsonl holds no utterances"),
        (["nothing"], "nothing holds no audio files"),
        (["absent.wav"], "absent.wav does not exist"),
        (["0.wav", "--policy", "best"], "policy is 'best'"),
        (["0.wav", "--chunk", "0"], "chunk_s is 0.0. Use seconds of at least one sample of 16000 Hz"),
        (["0.wav", "--utterances", "0"], "--utterances is 0. Use 1 or more."),
        (["0.wav", "--threads", "0"], "threads is 0"),
        (["0.wav", "noises.jsonl"], "1 utterance of 4 without a reference text, the first is '0.wav'"),
        (["0.wav", "0.wav"], "The id '0.wav' occurs twice"),
    ],
)
def test_what_cannot_be_compared(
    harken: Harken,
    conformer: Path,
    noises: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(noises)
    (noises / "empty.jsonl").write_text("", encoding="utf-8")
    (noises / "nothing").mkdir(exist_ok=True)
    answer = harken("bench", "streaming", conformer, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
