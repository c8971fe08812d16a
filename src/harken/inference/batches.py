"""Which waveforms share a forward pass."""

from collections.abc import Iterator, Sequence


def batches_by_length(lengths: Sequence[int], *, limit: int, least: int = 0) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first: it sets the padding.

    A batch times its longest, or `least` where that is more, stays within `limit`; one alone may be above it.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and max(lengths[batch[0]], least) * (len(batch) + 1) > limit:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
