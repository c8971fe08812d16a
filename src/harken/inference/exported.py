"""What `harken export` left in a model folder, and whether it still belongs to the weights beside it. No torch needed.

onnx/export.json, ctranslate2/export.json:
{"weights_sha256", "adapters": {name: sha256}, "versions": {package: version},
 "files": {name: {"sha256", "precision", "parity": {...}, ...}}}
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart
from harken.core.files import sha256_file
from harken.models.description import ADAPTERS_HASH, read_harken_json
from harken.models.overview import DESCRIPTION, WEIGHTS, WEIGHTS_HASH

RECORD = "export.json"
ONNX = "onnx"
CTRANSLATE2 = "ctranslate2"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsIdentity:
    """Which weights an export was made of: the hash of model.safetensors, and of each adapter merged into it."""

    weights_sha256: str
    adapters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """The content of export.json. `files` holds, by name, at least `sha256`, `precision` and `parity`."""

    identity: WeightsIdentity
    versions: dict[str, str]
    files: dict[str, dict[str, Any]]


def weights_identity(folder: Path) -> WeightsIdentity | None:
    """The weights a model folder holds now, as harken.json names them; without a hash there, and where the weights were
    written after it, that of the file.

    None where neither is there: a folder that carries its exports alone. Raises as `read_description` does.
    """
    described = read_harken_json(folder)
    weights = folder / WEIGHTS
    sha256 = described.get(WEIGHTS_HASH)
    if weights.is_file() and (sha256 is None or _is_newer(weights, folder / DESCRIPTION)):
        sha256 = sha256_file(weights)
    if sha256 is None:
        return None
    hashes = described.get(ADAPTERS_HASH, {})
    active = described.get("active_adapters", [])
    return WeightsIdentity(weights_sha256=sha256, adapters={name: hashes.get(name, "") for name in active})


def _is_newer(path: Path, other: Path) -> bool:
    return other.is_file() and path.stat().st_mtime_ns > other.stat().st_mtime_ns


def read_record(folder: Path, kind: str) -> ExportRecord | None:
    """export.json of an export of `kind` (`ONNX` or `CTRANSLATE2`); None where there is none.

    Raises InputError for one that is damaged.
    """
    path = folder / kind / RECORD
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return ExportRecord(
            identity=WeightsIdentity(
                weights_sha256=str(data["weights_sha256"]), adapters=dict(data.get("adapters", {}))
            ),
            versions=dict(data["versions"]),
            files={str(name): dict(entry) for name, entry in data["files"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise InputError(
            f"{path} is not a record of an export ({type(err).__name__}: {err}).", hint="Run harken export again."
        ) from err


def check_fresh(folder: Path, kind: str) -> ExportRecord:
    """The record of an export, once it is known to be of the weights the folder has.

    Raises MissingPart where nothing was exported, InputError for an export that is older than its weights.
    """
    record = read_record(folder, kind)
    if record is None:
        raise MissingPart(
            f"{folder} has no {kind} export.",
            hint=f"Make it: harken export {folder} --to {kind}, or use another engine.",
        )
    now = weights_identity(folder)
    if now is not None and now != record.identity:
        raise InputError(
            f"The {kind} export in {folder} is older than its weights: it was made of "
            f"{record.identity.weights_sha256[:12]}, the folder now holds {now.weights_sha256[:12]}.",
            hint="Run harken export again.",
        )
    return record


def exported_file(folder: Path, kind: str, name: str, record: ExportRecord) -> Path:
    """Path of an exported file. Raises MissingPart where it is absent, InputError where its bytes are other ones."""
    path = folder / kind / name
    if name not in record.files or not path.is_file():
        there = ", ".join(sorted(name for name in record.files if (folder / kind / name).is_file())) or "nothing"
        raise MissingPart(f"{path} does not exist.", hint=f"Run harken export again; exported so far: {there}.")
    if sha256_file(path) != record.files[name].get("sha256"):
        raise InputError(
            f"{path} is not what {RECORD} was written for: its SHA-256 is another one.",
            hint="Copy the model folder again, or run harken export again.",
        )
    return path
