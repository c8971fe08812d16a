"""Memory of this process, and how much of it models may take."""

from contextlib import suppress
from resource import getpagesize

from harken.core.machine import read_memory

_SHARE = 0.8


def resident_bytes() -> int:
    """What this process has in memory now; 0 where the system does not tell."""
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * getpagesize()
    return 0


def usual_budget() -> int | None:
    """What models may take where nobody says it: most of what is free now; None where the system does not tell."""
    available = read_memory().available
    return None if available is None else int(_SHARE * available)
