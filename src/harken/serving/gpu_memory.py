"""Memory of NVIDIA GPUs in use, from the driver's own library (NVML): no package is needed."""

import ctypes
from functools import lru_cache
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


def used_bytes() -> list[int]:
    """Bytes in use on each GPU, by any process; empty where there is no NVIDIA driver."""
    library = _library()
    if library is None:
        return []
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    return [_used(library, number) for number in range(count.value)]


def _used(library: Any, number: int) -> int:
    device, memory = ctypes.c_void_p(), _Memory()
    if library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(device)):
        return 0
    if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
        return 0
    return int(memory.used)


@lru_cache(maxsize=1)
def _library() -> Any:
    """The library, started; None where it is absent or finds no driver."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None
