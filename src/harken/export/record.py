"""export.json: what was exported, of which weights, with which versions, and how close it came."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart
from harken.core.files import write_json
from harken.inference.exported import RECORD, WeightsIdentity, read_record, weights_identity

PACKAGES = ("harken", "torch", "transformers", "onnx", "onnxscript", "onnxruntime", "ctranslate2")


def identity_of(folder: Path) -> WeightsIdentity:
    """The weights a model folder is exported from. Raises MissingPart where it has none."""
    found = weights_identity(folder)
    if found is None:
        raise MissingPart(f"{folder} has no weights to export.", hint="Export where model.safetensors is.")
    return found


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of the packages an export depends on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_unchanged(folder: Path, identity: WeightsIdentity) -> None:
    """Raise InputError unless a model folder still holds the weights an export was made of."""
    if identity_of(folder) != identity:
        raise InputError(f"The weights in {folder} changed while they were exported.", hint="Run harken export again.")


def add_to_record(folder: Path, kind: str, files: Mapping[str, dict[str, Any]], *, identity: WeightsIdentity) -> None:
    """Write `files`, made of the weights `identity`, into export.json of an export of `kind`, beside those that are
    there already.

    Files of the record that were made of other weights are deleted: nothing may run them any more. A record that is
    damaged begins anew.
    """
    try:
        before = read_record(folder, kind)
    except InputError:
        before = None
    kept: dict[str, dict[str, Any]] = {}
    if before is not None and before.identity == identity:
        kept = {name: entry for name, entry in before.files.items() if (folder / kind / name).is_file()}
    elif before is not None:
        for name in before.files.keys() - files.keys():
            (folder / kind / name).unlink(missing_ok=True)
    write_json(
        folder / kind / RECORD,
        {
            "weights_sha256": identity.weights_sha256,
            "adapters": identity.adapters,
            "versions": versions(),
            "files": {**kept, **files},
        },
    )
