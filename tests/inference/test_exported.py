"""Whether an export is of the weights beside it."""

import json
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart
from harken.core.files import sha256_file
from harken.inference.exported import check_fresh, exported_file, read_record, weights_identity


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as far as this module looks: what harken.json and export.json say."""
    write(tmp_path / "harken.json", {"format": 1, "weights_sha256": "aa", "active_adapters": []})
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(b"graph")
    entry = {"sha256": sha256_file(tmp_path / "onnx/model.onnx"), "precision": "fp32", "parity": {}}
    write(
        tmp_path / "onnx/export.json",
        {"weights_sha256": "aa", "adapters": {}, "versions": {}, "files": {"model.onnx": entry}},
    )
    return tmp_path


def write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data))


def test_a_fresh_export_gives_its_files(folder: Path) -> None:
    record = check_fresh(folder, "onnx")
    assert exported_file(folder, "onnx", "model.onnx", record) == folder / "onnx/model.onnx"


def test_other_weights_make_it_stale(folder: Path) -> None:
    write(folder / "harken.json", {"format": 1, "weights_sha256": "bb"})
    with pytest.raises(InputError, match=r"it was made of aa, the folder now holds bb.*Run harken export again"):
        check_fresh(folder, "onnx")


def test_other_adapters_make_it_stale(folder: Path) -> None:
    adapters = {"active_adapters": ["x"], "adapters_sha256": {"x": "cc", "y": "dd"}}
    write(folder / "harken.json", {"format": 1, "weights_sha256": "aa", **adapters})
    found = weights_identity(folder)
    assert found is not None
    assert found.adapters == {"x": "cc"}
    with pytest.raises(InputError, match="older than its weights"):
        check_fresh(folder, "onnx")


def test_without_a_hash_the_weights_themselves_are_read(folder: Path) -> None:
    write(folder / "harken.json", {"format": 1})
    assert check_fresh(folder, "onnx").identity.weights_sha256 == "aa"  # nothing to compare with: exports alone
    (folder / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(InputError, match="older than its weights"):
        check_fresh(folder, "onnx")


def test_what_was_never_exported_is_missing(folder: Path) -> None:
    assert read_record(folder, "ctranslate2") is None
    with pytest.raises(MissingPart, match=r"no ctranslate2 export.*harken export"):
        check_fresh(folder, "ctranslate2")
    with pytest.raises(MissingPart, match=r"model\.int8\.onnx does not exist.*exported so far: model\.onnx"):
        exported_file(folder, "onnx", "model.int8.onnx", check_fresh(folder, "onnx"))


def test_a_file_that_changed_is_refused(folder: Path) -> None:
    (folder / "onnx/model.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match=r"is not what export\.json was written for"):
        exported_file(folder, "onnx", "model.onnx", check_fresh(folder, "onnx"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weights_sha256": "aa", "versions": {}, "files": []}', "\u00e9"])
def test_a_damaged_record_is_named(folder: Path, text: str) -> None:
    (folder / "onnx/export.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"export\.json is not a record of an export"):
        check_fresh(folder, "onnx")
