"""Answers made where they hold nobody up."""

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from harken.serving.contract import Transcription

SHORT_CHARACTERS = 4_000  # of a text, about four minutes of speech: with words and times less than 2 ms of work

P = ParamSpec("P")
T = TypeVar("T")


async def written(
    make: Callable[Concatenate[Transcription, P], T], result: Transcription, *args: P.args, **kwargs: P.kwargs
) -> T:
    """What `make` makes of a result and the other arguments: on the event loop for a short text, which costs less than
    handing it over; else in a thread, as hours of speech are tens of thousands of words.
    """
    if len(result.transcript.text) <= SHORT_CHARACTERS:
        return make(result, *args, **kwargs)
    return await asyncio.to_thread(make, result, *args, **kwargs)
