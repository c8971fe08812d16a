"""One `StreamingASR` for all streams of a model with the same settings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from harken.core import InputError, Recognizer
from harken.inference.streaming import StreamingASR, StreamingConfig
from harken.inference.streaming.build import StreamParts, policy_name
from harken.serving.contract import LiveOptions

_LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class _Shared:
    recognizer: Recognizer  # held, so that its id stays its own
    made: "asyncio.Future[StreamingASR]"
    users: int = 0


class SharedAsrs:
    """A `StreamingASR` holds no stream's state, so sessions of many threads may share one; what nobody uses is let go
    of, and with it the model."""

    def __init__(self) -> None:
        self._shared: dict[tuple[int, StreamingConfig], _Shared] = {}

    @asynccontextmanager
    async def use(
        self, recognizer: Recognizer, config: StreamingConfig, run: Callable[[Callable[[], Any]], Any]
    ) -> AsyncIterator[StreamingASR]:
        """The one for both, made by `run`, in a thread. Raises as `StreamingASR` does."""
        key = (id(recognizer), config)
        if key not in self._shared:
            made = asyncio.ensure_future(run(lambda: StreamingASR(recognizer, config=config)))
            made.add_done_callback(_seen)
            self._shared[key] = _Shared(recognizer, made)
        shared = self._shared[key]
        shared.users += 1
        try:
            yield await asyncio.shield(shared.made)
        finally:
            shared.users -= 1
            if not shared.users:
                del self._shared[key]


def stream_config(base: StreamingConfig, recognizer: Recognizer, options: LiveOptions) -> StreamingConfig:
    """`base` with the endpoints that a client asks for. Raises InputError for a pause out of range, and for one where
    the policy that the model follows has no endpoints."""
    pause_s = options.endpoint_pause_s
    if pause_s is not None and not 0 < pause_s <= _LONGEST_PAUSE_S:
        raise InputError(f"The endpoint's pause is {pause_s} s.", hint=f"Use seconds above 0, to {_LONGEST_PAUSE_S:g}.")
    policy = policy_name(StreamParts(recognizer=recognizer), base)
    endpoint = base.endpoint
    if policy == "fixed":
        if pause_s is not None:
            raise InputError("The server's streaming policy has no endpoints.", hint="Leave the pause out.")
        return base
    if not options.endpointing:
        endpoint = replace(endpoint, pause_s=None)
        if policy != "local-agreement":  # which has no other rules
            endpoint = replace(endpoint, silence_s=None, longest_s=None)
    elif pause_s is not None:
        endpoint = replace(endpoint, pause_s=pause_s)
    return replace(base, endpoint=endpoint)


def _seen(future: "asyncio.Future[StreamingASR]") -> None:
    """An error is told to those who wait for it; where nobody does any more it is no news."""
    if not future.cancelled():
        future.exception()
