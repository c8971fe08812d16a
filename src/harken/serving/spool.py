"""The folder of uploads and of other temporary files: one for each process, gone with it, even after a kill -9."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harken.core import MissingPart
from harken.tracking.lock import LOCK_NAME, FolderLock, RunBusyError, is_locked

PREFIX = "harken-serve-"
_READY = "-ready"  # a folder has this name once it is locked, so that what is named so and not locked is a dead one's

logger = logging.getLogger(__name__)


@contextmanager
def spool_folder(parent: Path | None) -> Iterator[Path]:
    """A private folder in `parent` (None: the system's temporary folder), removed at the end.

    What processes left there that were killed is removed first. Raises MissingPart where no folder can be made.
    """
    parent = _temporary() if parent is None else parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = FolderLock.take(made)
        folder = made.rename(made.with_name(made.name + _READY))
    except OSError as err:
        raise MissingPart(
            f"The folder of uploads, {parent}, cannot be used: {err.strerror}.", hint="Set spool to another."
        ) from err
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as err:  # as in a container with a read-only file system
        raise MissingPart(
            "There is no temporary folder that can be written to.",
            hint="Set spool to a folder for uploads, or the variable TMPDIR.",
        ) from err


def remove_leftovers(parent: Path) -> list[Path]:
    """Remove the folders of this user's dead processes, and return them. A living process holds the lock of its own."""
    removed = []
    for folder in sorted(parent.glob(f"{PREFIX}*{_READY}")):
        if not _is_dead(folder):
            continue
        try:
            lock = FolderLock.take(folder)  # two that start at once must not both remove it
        except (OSError, RunBusyError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        logger.info("removed %s, which a process left that was killed", folder)
        removed.append(folder)
    return removed


def _is_dead(folder: Path) -> bool:
    """Never true of a link, of somebody else's folder, or of one that is only named like ours."""
    try:
        found = folder.lstat()
        is_ours = folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid()
        return is_ours and (folder / LOCK_NAME).is_file() and not is_locked(folder)
    except OSError:
        return False
