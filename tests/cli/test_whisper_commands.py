"""`harken transcribe` and `harken evaluate` with an encoder-decoder model: what they can be told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import Utterance
from harken.data.manifest import write_manifest

pytest.importorskip("transformers", reason="needs the extra `train`")


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    return path


def test_the_language_is_told_or_guessed(harken: Any, whisper: Path, sound: Path) -> None:
    told = harken("transcribe", sound, "--model", whisper, "--language", "uz", "--json").json
    assert told["language"] == "uz"
    assert harken("transcribe", sound, "--model", whisper, "--json").json["language"] in ("en", "uz", "ru")
    subtitles = harken("transcribe", sound, "--model", whisper, "--language", "uz", "--format", "srt").out
    assert subtitles.startswith("1\n00:00:00,000 --> 00:00:01,000\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--language", "tlh"], "The tokenizer has no token for the language 'tlh'; it knows 3."),
        (["--task", "sing"], "task"),
    ],
)
def test_what_it_cannot_be_told(harken: Any, whisper: Path, sound: Path, options: list[str], message: str) -> None:
    answer = harken("transcribe", sound, "--model", whisper, *options)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_audio_beyond_the_window_needs_time_tokens(harken: Any, whisper: Path, tmp_path: Path, sound: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.full(32_000, 0.1), 16_000)
    answer = harken("transcribe", tmp_path / "long.wav", sound, "--model", whisper, "--language", "uz")
    assert answer.code == 2
    assert "long.wav: Audio beyond one window is followed by time tokens" in answer.err
    assert answer.out.startswith(f"{sound}\t")  # the other file goes on


def test_evaluation_in_one_language(harken: Any, whisper: Path, tmp_path: Path, sound: Path) -> None:
    manifest = tmp_path / "test.jsonl"
    write_manifest(manifest, [Utterance(id="a", audio=str(sound), duration_s=1.0, text="bir ikki", language="uz")])
    answer = harken("evaluate", whisper, manifest, "--language", "uz", "--out", tmp_path / "report", "--samples", 10)
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["words"] == 2
    assert harken("evaluate", whisper, manifest, "--language", "tlh").code == 2
