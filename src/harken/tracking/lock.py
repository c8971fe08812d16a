"""One writer per folder."""

import json
import os
import socket
import time
from pathlib import Path

from harken.core import MissingPart, ServiceRefused

LOCK_NAME = ".lock"

_TRIES, _PAUSE_S = 5, 0.05  # a reader that asks whether a run is going holds the lock for an instant


class RunBusyError(ServiceRefused):
    """Another process is writing this run."""


class FolderLock:
    """An exclusive lock on a folder, given back by the system when the process ends, even by kill -9.

    An advisory lock (flock) on a file inside; who holds it is written there for people. Needs a POSIX system.
    """

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    @classmethod
    def take(cls, folder: Path) -> "FolderLock":
        """Lock `folder`. Raises RunBusyError that names the process and host that have it."""
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            for attempt in range(_TRIES):
                if _flock(handle):
                    break
                if attempt == _TRIES - 1:
                    raise RunBusyError(
                        f"{folder} is in use by {_holder(handle)}.",
                        hint="Wait for it or stop it, or choose another folder with --out.",
                    )
                time.sleep(_PAUSE_S)
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        except BaseException:
            os.close(handle)
            raise
        return cls(handle)

    def release(self) -> None:
        """Unlock. The file stays: removing it would let two processes lock two files of one name."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_locked(folder: Path) -> bool:
    """Whether some process holds the lock of `folder` now."""
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(handle, shared=True)  # so that two who ask at once do not take each other for the run
    finally:
        os.close(handle)


def _flock(handle: int, *, shared: bool = False) -> bool:
    try:
        import fcntl
    except ImportError as err:
        raise MissingPart(
            "This system has no file locks of the kind runs need (flock).", hint="Use Linux, macOS or WSL."
        ) from err
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(handle: int) -> str:
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
