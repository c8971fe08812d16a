"""`harken transcribe --routes`: the language is detected, and its model transcribes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harken.inference import load

pytest.importorskip("transformers", reason="needs the extra `train`")
Harken = Callable[..., Any]


@pytest.fixture
def routes(tmp_path: Path, whisper: Path, model: Path) -> Path:
    """All that is Uzbek, by a detector that may choose nothing else."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "whisper").symlink_to(whisper)
    (tmp_path / "models" / "uz").symlink_to(model)
    path = tmp_path / "routes.yaml"
    path.write_text(
        "detector: models/whisper\nroutes: {uz-Latn: {model: models/uz, engine: torch}}\nlanguages: [uz]\n",
        encoding="utf-8",
    )
    return path


def test_one_file(harken: Harken, corpus: Path, model: Path, routes: Path) -> None:
    text = load(model).transcribe(corpus / "03.wav").text
    answer = harken("transcribe", corpus / "03.wav", "--routes", routes)
    assert (answer.code, answer.out) == (0, f"{text}\n")
    found = harken("transcribe", corpus / "03.wav", "--routes", routes, "--json").json
    assert (found["text"], found["language"]) == (text, "uz")


def test_several_files_have_a_column_for_the_language(
    harken: Harken, corpus: Path, model: Path, routes: Path, whisper: Path
) -> None:
    files = [corpus / "00.wav", corpus / "missing.wav", corpus / "03.wav"]
    answer = harken("transcribe", *files, "--routes", routes)
    assert answer.code == 2
    assert answer.out == "".join(f"{file}\tuz\t{load(model).transcribe(file).text}\n" for file in files[::2])
    assert "missing.wav does not exist" in answer.err
    lines = [json.loads(line) for line in harken("transcribe", *files, "--routes", routes, "--json").out.splitlines()]
    assert [(line["file"], line["language"]) for line in lines] == [(str(file), "uz") for file in files[::2]]
    doubtful = "detector: models/whisper\nroutes: {uz: models/uz}\ndefault: models/uz\nleast_probability: 1\n"
    routes.write_text(doubtful, encoding="utf-8")
    answer = harken("transcribe", *files[::2], "--routes", routes)
    assert answer.out == "".join(f"{file}\t\t{load(model).transcribe(file).text}\n" for file in files[::2])


def test_into_a_folder(harken: Harken, corpus: Path, routes: Path, tmp_path: Path) -> None:
    answer = harken("transcribe", corpus / "00.wav", "--routes", routes, "--out", tmp_path / "out")
    assert answer.code == 0
    assert f"{corpus / '00.wav'} -> {tmp_path / 'out' / '00.txt'} (uz)\n" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "m"], "--model and --routes exclude each other. Give one of --model and --routes."),
        (["--engine", "onnx"], "--engine does nothing with --routes. Set it for a model in"),
        (["--threads", "1"], "--threads does nothing with --routes."),
        (["--lm-weight", "0.5"], "--lm-weight does nothing with --routes."),
        (["--language", "uz"], "--language does nothing with --routes."),
        (["--word-times"], "--word-times does nothing with --routes."),
    ],
)
def test_options_of_one_model_are_refused(
    harken: Harken, corpus: Path, routes: Path, options: list[str], message: str
) -> None:
    answer = harken("transcribe", corpus / "00.wav", "--routes", routes, *options)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_without_a_model(harken: Harken, corpus: Path) -> None:
    answer = harken("transcribe", corpus / "00.wav")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: There is no model. Give one of --model and --routes.\n"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("detector: models/uz\nroutes: {uz: models/uz}", 2, "models/uz is of the family recurrent-ctc, which does not"),
        ("detector: models/whisper\nroutes: {uz: models/none}", 3, "routes.yaml: routes.uz: "),
        ("detector: models/whisper\nroutes: {tlh: models/uz}", 2, "routes.tlh: The tokenizer has no token for the"),
        ("routes: {uz: models/uz}", 2, "routes.yaml: The routes name no detector."),
        ("detector: models/whisper\nroutes: {}", 2, "routes is empty"),
        ("detector: models/whisper\nroutes: {uz: models/uz}\nlangauges: [uz]", 2, "did you mean 'languages'?"),
    ],
)
def test_wrong_routes(harken: Harken, corpus: Path, routes: Path, text: str, code: int, message: str) -> None:
    routes.write_text(text, encoding="utf-8")
    answer = harken("transcribe", corpus / "00.wav", "--routes", routes)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert str(routes) in answer.err
