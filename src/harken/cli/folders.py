"""Places a command writes to, looked at before the work: a mistyped --out must not cost an hour."""

import os
from pathlib import Path


def check_output_folder(folder: Path, *, option: str = "--out") -> None:
    """Raise InputError unless `folder` is a folder to write in, or can become one. Leaves no trace."""
    from harken.core import InputError

    obstacle = _obstacle(folder)
    if obstacle:
        raise InputError(f"{option} is {folder}, and {obstacle}.", hint="Name another folder.")


def check_output_file(file: Path, *, option: str = "--out") -> None:
    """Raise InputError unless `file` can be written. Leaves no trace."""
    from harken.core import InputError

    obstacle = f"{file} is a folder" if file.is_dir() else _obstacle(file.parent)
    if obstacle:
        raise InputError(f"{option} is {file}, and {obstacle}.", hint="Name another file.")


def refuse_own_manifest(manifest: Path, target: Path) -> None:
    """Raise InputError where writing `target` would replace the manifest that is read."""
    from harken.core import InputError

    if target.exists() and target.samefile(manifest):
        raise InputError(f"{manifest} is the manifest that would be written.", hint="Choose another folder.")


def _obstacle(folder: Path) -> str:
    """What keeps files from being written in `folder`, or in the nearest place above it that exists; "" if nothing."""
    place = folder
    while not place.exists() and place.parent != place:
        place = place.parent
    if not place.is_dir():
        return f"{place} is a file"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written to"
