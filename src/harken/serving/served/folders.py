"""Which model folders may be named from outside: those inside the folders that the operator named, links followed."""

import os
from collections.abc import Sequence
from pathlib import Path

from harken.core import InputError
from harken.http.errors import NotAllowed

LONGEST_PATH = 4_096
_MOST_ENTRIES = 10_000  # of a model folder


def allowed_folder(path: str, folders: Sequence[Path]) -> Path:
    """The model folder at `path`, absolute or below one of `folders`, without links in its own path.

    Raises NotAllowed where `folders` is empty, and for a folder that is outside, or reaches outside by a link within
    it; InputError for what is no path. A folder that is absent is given back as it is.
    """
    roots = [folder.resolve() for folder in folders]
    if not roots:
        raise NotAllowed(
            "Models of this server are not exchanged from outside.",
            hint="Its operator names the folders they may come from in models.folders.",
        )
    found = [_resolved(root / path) for root in roots]
    folder = next((folder for folder in found if folder.is_dir()), found[0])
    if not _is_within(folder, roots):
        raise _outside(path)
    _check_links(folder, roots, path)
    return folder


def _resolved(path: Path) -> Path:
    try:
        resolved = path.resolve()
        resolved.is_dir()  # which raises for names that no file system takes
        return resolved
    except (OSError, RuntimeError, ValueError) as err:  # RuntimeError: links in a circle; ValueError: a NUL
        raise InputError("path is none that a folder can have.", hint="Name a model folder.") from err


def _is_within(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _check_links(folder: Path, roots: Sequence[Path], path: str) -> None:
    """A link inside may lead to another place within the folders, as to weights that models share."""
    entries = 0
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            entries += 1
            entry = Path(above, name)
            if entry.is_symlink() and not _is_within(_resolved(entry), roots):
                raise _outside(path)
        if entries > _MOST_ENTRIES:
            raise InputError(f"path names a folder of more than {_MOST_ENTRIES:,} files.", hint="Name a model folder.")


def _outside(path: str) -> NotAllowed:
    shown = path[:200].encode("unicode_escape").decode("ascii")
    return NotAllowed(
        f"{shown} is not inside the folders that models may come from.",
        hint="Copy the model into one of models.folders; links may not lead out of them.",
    )
