"""`harken data augment`: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from harken.cli.augment import augment
from harken.core import HarkenError


@pytest.fixture
def manifest(corpus: Path, tmp_path: Path) -> Path:
    """The first four clips of the corpus."""
    lines = (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines()[:4]
    path = tmp_path / "four.jsonl"
    path.write_text("".join(line.replace('"audio": "', f'"audio": "{corpus}/') + "\n" for line in lines))
    return path


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(augment)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_settings_of_a_recipe(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [manifest, "-o", out, "--set", "noise.snr_db=[5,20]", "--set", "noise.probability=1", "--copies", 2]
    answer = run(*command)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == f"{out}/manifest.jsonl: 12 utterances\n"
    assert "8 files written, 0 there already" in answer.stderr
    assert [row["id"] for row in rows(out)][:3] == ["clip-00", "clip-00-aug1", "clip-00-aug2"]
    assert rows(out)[1]["audio"] == "audio/aug1/clip-00.flac"
    assert soundfile.info(out / "audio" / "aug1" / "clip-00.flac").subtype == "PCM_16"
    again = run(*command, "--json")
    assert json.loads(again.stdout) == {
        "manifest": f"{out}/manifest.jsonl", "utterances": 12, "written": 0, "reused": 8, "rejected": [],
    }  # fmt: skip


def test_conditions(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = run(manifest, "-o", out, "--condition", "noise-10db", "--condition", "telephone", "--no-original")
    assert answer.exit_code == 0, answer.output
    assert [row["id"] for row in rows(out)][:2] == ["clip-00-noise-10db", "clip-00-telephone"]
    assert rows(out)[1]["tags"] == {"augmentation": "codec", "augmented_from": "clip-00"}


def test_a_condition_is_the_same_as_in_evaluation(manifest: Path, tmp_path: Path) -> None:
    import numpy as np

    from harken.audio import decode_audio
    from harken.evaluation.conditions import CONDITIONS, apply_condition

    out = tmp_path / "out"
    assert run(manifest, "-o", out, "--condition", "noise-5db", "--no-original", "--seed", 3).exit_code == 0
    original = decode_audio(json.loads(manifest.read_text().splitlines()[0])["audio"], sample_rate_hz=16_000)
    heard = apply_condition(original, CONDITIONS["noise-5db"], sample_rate_hz=16_000, utterance_id="clip-00", seed=3)
    written = decode_audio(out / str(rows(out)[0]["audio"]), sample_rate_hz=16_000)
    np.testing.assert_allclose(written, heard, atol=1 / 32_768)


def test_unreadable_audio_is_named_and_the_exit_code_is_2(manifest: Path, tmp_path: Path) -> None:
    text = manifest.read_text(encoding="utf-8").replace("02.wav", "absent.wav")
    manifest.write_text(text, encoding="utf-8")
    answer = run(manifest, "-o", tmp_path / "out", "--condition", "clipping")
    assert answer.exit_code == 2
    assert "clip-02" in answer.stderr
    assert "absent.wav" in answer.stderr
    assert "1 utterance left out" in answer.stderr
    assert len(rows(tmp_path / "out")) == 6


def test_a_file_in_the_place_of_the_folder_is_refused_at_once(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    answer = run(manifest, "-o", tmp_path / "out", "--condition", "clipping")
    assert isinstance(answer.exception, HarkenError)
    assert f"--out is {tmp_path}/out, and {tmp_path}/out is a file." in str(answer.exception)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Nothing says how to augment"),
        (["--set", "noise"], "is not an override"),
        (["--set", "noisy.snr_db=[5,20]"], "noisy is not a setting"),
        (["--set", "noise.snr_db=[20,5]"], "snr_db is"),
        (["--set", "spec_augment.time_masks=1"], "change features"),
        (["--condition", "loud"], "no condition 'loud'"),
        (["--condition", "clean"], "only condition is clean"),
        (["--condition", "noise-5db", "--copies", "0"], "--copies is 0"),
        (["--condition", "noise-5db", "--threads", "0"], "--threads is 0"),
    ],
)
def test_requests_that_make_no_sense(manifest: Path, tmp_path: Path, options: list[str], message: str) -> None:
    answer = run(manifest, "-o", tmp_path / "out", *options)
    assert isinstance(answer.exception, HarkenError)
    assert message in str(answer.exception)
    assert not (tmp_path / "out").exists()
