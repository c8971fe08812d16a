"""What is read from model folders without torch: figures, origin, hashes, and what is damaged."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart
from harken.core.files import sha256_file
from harken.models.overview import evaluations_of, find_model_folders, summarize, verified_weights
from harken.tracking import RunFolder

METRICS = {
    "validation": {"wer": 0.5, "cer": None, "words": 10},
    "test": {"wer": {"value": 0.125, "low": 0.1, "high": 0.15}, "cer": {"value": 0.05}, "words": 800, "utterances": 90},
}


def make_folder(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    description = {
        "family": "conformer-ctc",
        "parameters": 1234,
        "sample_rate_hz": 16000,
        "languages": ["uz", "ru"],
        "normalizer": "basic",
        "metrics": METRICS,
        "provenance": {"run": "digits-1", "train_sha256": "ab12"},
        "format": 1,
        "weights_sha256": sha256_file(folder / "model.safetensors"),
        **changes,
    }
    (folder / "harken.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def test_a_summary(tmp_path: Path) -> None:
    found = summarize(make_folder(tmp_path / "digits-1/model"))
    assert (found.name, found.folder) == ("digits-1", tmp_path / "digits-1/model")
    assert (found.family, found.parameters, found.sample_rate_hz) == ("conformer-ctc", 1234, 16_000)
    assert found.languages == ["uz", "ru"]
    assert [(e.on, e.wer, e.low, e.high, e.cer, e.words, e.utterances) for e in found.evaluations] == [
        ("validation", 0.5, None, None, None, 10, None),
        ("test", 0.125, 0.1, 0.15, 0.05, 800, 90),
    ]
    assert found.evaluation is not None
    assert found.evaluation.on == "test"
    assert found.run_record is None


def test_the_evaluation_to_show(tmp_path: Path) -> None:
    only = summarize(make_folder(tmp_path / "a", metrics={"x": {"cer": 0.1}, "validation": {"wer": 0.0}})).evaluation
    assert only is not None
    assert (only.on, only.wer) == ("validation", 0.0)
    assert summarize(make_folder(tmp_path / "b", metrics={})).evaluation is None
    assert evaluations_of({"note": "none yet"}) == []


def test_the_run_beside_it_counts_only_if_it_is_the_one_named(tmp_path: Path) -> None:
    for name, named in (("own", "run-7"), ("copied", "another")):
        with RunFolder.create(tmp_path / name, name="digits", kind="training", settings={}, run_id="run-7"):
            make_folder(tmp_path / name / "model", provenance={"run": named})
    own, copied = summarize(tmp_path / "own/model"), summarize(tmp_path / "copied/model")
    assert own.run_record is not None
    assert (own.name, own.run_record["id"], own.created_at) == ("digits", "run-7", own.run_record["finished_at"])
    assert (copied.name, copied.run_record) == ("copied", None)


def test_folders_are_found_in_order_and_not_too_deep(tmp_path: Path) -> None:
    for place in ("b/model", "a", "group/c/model", "1/2/3/4"):
        make_folder(tmp_path / place)
    (tmp_path / "empty").mkdir()
    assert [str(path.relative_to(tmp_path)) for path in find_model_folders(tmp_path)] == [
        "a", "b/model", "group/c/model",
    ]  # fmt: skip
    assert list(find_model_folders(tmp_path / "a")) == [tmp_path / "a"]
    assert list(find_model_folders(tmp_path / "empty")) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "7", '{"format": 1}', '{"family": "x", "provenance": null}', "\ufeff{}"]
)
def test_a_damaged_description(tmp_path: Path, text: str) -> None:
    (make_folder(tmp_path / "m") / "harken.json").write_text(text)
    with pytest.raises(InputError, match=r"harken.json does not describe a model"):
        summarize(tmp_path / "m")


def test_no_description(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(MissingPart, match=r"is not a model folder: it has no harken.json"):
            summarize(place)


def test_weights_are_hashed_anew(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    # printf weights | sha256sum
    assert verified_weights(folder) == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    (folder / "model.safetensors").write_bytes(b"others")
    with pytest.raises(InputError, match=r"SHA-256 begins with [0-9a-f]{12}, harken.json says 9a129038d9a0\."):
        verified_weights(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingPart, match=r"model.safetensors does not exist"):
        verified_weights(folder)


def test_weights_without_a_recorded_hash_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m", weights_sha256=None)
    assert verified_weights(folder) == sha256_file(folder / "model.safetensors")


def test_it_takes_no_torch_and_no_mlflow(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    code = (
        "import sys, pathlib; from harken.models.overview import summarize; "
        f"print(summarize(pathlib.Path({str(folder)!r})).parameters, 'torch' in sys.modules, 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1234 False False\n"
