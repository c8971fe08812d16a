"""Which waveforms share a forward pass."""

import heapq
from collections.abc import Sequence

_SIXTEENTHS = range(16, 7, -1)  # of the limit, down to half of it: smaller passes cost more than they save


def batches_by_length(lengths: Sequence[int], *, limit: int, least: int = 0, at_a_time: int = 1) -> list[list[int]]:
    """Indices in batches of similar length, longest first: it sets the padding.

    A batch times its longest, or `least` where that is more, stays within `limit`; one alone may be above it. Where
    there are more batches than run `at_a_time`, they may be smaller, so that the last of them end together.
    """
    ordered = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    padded = [max(lengths[i], least) for i in ordered]
    sizes = _sizes(padded, limit)
    if len(sizes) > at_a_time > 1:
        tried = (_sizes(padded, limit * share // 16) for share in _SIXTEENTHS)
        sizes = min(tried, key=lambda sizes: _end(padded, sizes, at_a_time))
    places = iter(ordered)
    return [[next(places) for _ in range(size)] for size in sizes]


def _sizes(padded: Sequence[int], limit: int) -> list[int]:
    """How many of some lengths, in falling order, go into each batch."""
    sizes: list[int] = []
    longest = 0
    for length in padded:
        if sizes and longest * (sizes[-1] + 1) <= limit:
            sizes[-1] += 1
        else:
            sizes.append(1)
            longest = length
    return sizes


def _end(padded: Sequence[int], sizes: Sequence[int], at_a_time: int) -> int:
    """When the last batch ends, each taken by whoever is free first, in padded samples."""
    free, first = [0] * at_a_time, 0
    for size in sizes:
        heapq.heapreplace(free, free[0] + padded[first] * size)
        first += size
    return max(free)
