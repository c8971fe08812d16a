"""The garbage collector, kept from holding up everybody."""

import asyncio
import gc
from collections.abc import Callable

_LOOK_S = 0.05


async def keep_still(is_loaded: Callable[[], bool]) -> None:
    """Once all is loaded: the collector no longer looks through what lives as long as the process.

    A full collection of a server with its libraries takes about a tenth of a second, in which the event loop and every
    thread of Python stand still.
    """
    while not is_loaded():
        await asyncio.sleep(_LOOK_S)
    gc.collect()
    gc.freeze()
