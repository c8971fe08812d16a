"""What happens to memory that tensors have freed: by the C library (Linux with glibc only), and on a GPU."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_TRIM_THRESHOLD, _MMAP_MAX = 128 * 1024, 65536  # glibc's defaults
_NEVER = 2**31 - 1


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what tensors free for the next ones, instead of returning it to the system, in the whole process.

    Fresh memory costs a page fault for every 4 KiB, a good part of a training step on a CPU where activations are
    large. In the end glibc's defaults are set again, and what is free then is returned.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, _MMAP_MAX)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        return_freed_memory()


def grow_segments() -> None:
    """Let a GPU's memory grow in pages instead of blocks that later sizes do not fit, as plans assume.

    It has to be said before CUDA is first used. A setting of the user's stays as it is.
    """
    if platform.system() == "Linux" and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")


def return_freed_memory() -> None:
    """Give memory that is free now back to the system."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
