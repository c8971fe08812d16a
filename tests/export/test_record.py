"""export.json: entries come together for one set of weights, and go with it."""

import json
import os
from pathlib import Path

import pytest

from harken.core import InputError, MissingPart
from harken.core.files import sha256_file
from harken.export.record import add_to_record, check_unchanged, identity_of, versions
from harken.inference.exported import check_fresh


def put(folder: Path, name: str) -> dict[str, object]:
    (folder / "onnx").mkdir(exist_ok=True)
    (folder / "onnx" / name).write_text(name)
    return {"sha256": sha256_file(folder / "onnx" / name), "precision": "fp32", "parity": None}


def add(folder: Path, files: dict[str, dict[str, object]]) -> None:
    add_to_record(folder, "onnx", files, identity=identity_of(folder))


def change_weights(folder: Path) -> None:
    described = json.loads((folder / "harken.json").read_text())
    (folder / "harken.json").write_text(json.dumps({**described, "weights_sha256": "0" * 64}))


def test_entries_of_the_same_weights_gather(model_folder: Path) -> None:
    add(model_folder, {"a.onnx": put(model_folder, "a.onnx")})
    add(model_folder, {"b.onnx": put(model_folder, "b.onnx")})
    record = check_fresh(model_folder, "onnx")
    assert sorted(record.files) == ["a.onnx", "b.onnx"]
    assert record.identity.weights_sha256 == sha256_file(model_folder / "model.safetensors")
    assert record.versions["python"] == versions()["python"]
    (model_folder / "onnx/a.onnx").unlink()
    add(model_folder, {"b.onnx": put(model_folder, "b.onnx")})
    assert sorted(check_fresh(model_folder, "onnx").files) == ["b.onnx"]


def test_files_of_other_weights_are_removed(model_folder: Path) -> None:
    add(model_folder, {"a.onnx": put(model_folder, "a.onnx")})
    change_weights(model_folder)
    add(model_folder, {"b.onnx": put(model_folder, "b.onnx")})
    assert sorted(check_fresh(model_folder, "onnx").files) == ["b.onnx"]
    assert not (model_folder / "onnx/a.onnx").exists()


def test_a_folder_without_weights_cannot_be_exported(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    described = json.loads((model_folder / "harken.json").read_text())
    del described["weights_sha256"]
    (model_folder / "harken.json").write_text(json.dumps(described))
    with pytest.raises(MissingPart, match="no weights to export"):
        identity_of(model_folder)


def test_weights_that_change_meanwhile_are_noticed(model_folder: Path) -> None:
    identity = identity_of(model_folder)
    check_unchanged(model_folder, identity)
    change_weights(model_folder)
    with pytest.raises(InputError, match="changed while they were exported"):
        check_unchanged(model_folder, identity)


def test_a_damaged_record_begins_anew(model_folder: Path) -> None:
    add(model_folder, {"a.onnx": put(model_folder, "a.onnx")})
    (model_folder / "onnx" / "export.json").write_text("{")
    add(model_folder, {"b.onnx": put(model_folder, "b.onnx")})
    assert sorted(check_fresh(model_folder, "onnx").files) == ["b.onnx"]


def test_weights_written_after_their_description_are_read(model_folder: Path) -> None:
    add(model_folder, {"a.onnx": put(model_folder, "a.onnx")})
    described = (model_folder / "harken.json").stat()
    with (model_folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    os.utime(model_folder / "model.safetensors", ns=(described.st_atime_ns, described.st_mtime_ns + 1))
    with pytest.raises(InputError, match="older than its weights"):
        check_fresh(model_folder, "onnx")
