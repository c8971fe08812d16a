"""The manifests a run reads, and their hashes."""

from pathlib import Path
from typing import Any

from harken.core import InputError
from harken.core.files import sha256_file
from harken.training.augmenting import MANIFEST_SUFFIX
from harken.training.recipe import Recipe, augmentation_files


def manifest_hashes(recipe: Recipe) -> dict[str, Any]:
    """Path and SHA-256 of every manifest the recipe reads."""
    paths = {"train": recipe.data.train, "validation": recipe.data.validation, "test": recipe.data.test}
    recordings = [file for file in augmentation_files(recipe) if file.endswith(MANIFEST_SUFFIX)]
    paths |= {f"recordings-{number}": file for number, file in enumerate(recordings, start=1)}
    hashes = {}
    for name, path in paths.items():
        if path is None:
            continue
        if not Path(path).is_file():
            where = f"data.{name}" if hasattr(recipe.data, name) else "A manifest of augmentation"
            raise InputError(f"{where} is {path}, which does not exist.", hint="Paths are relative to the recipe.")
        hashes[name] = {"path": path, "sha256": sha256_file(Path(path))}
    return hashes
