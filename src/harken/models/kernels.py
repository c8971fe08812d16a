"""Whose kernels a model picks where it has a choice: those of the device its tensors are on, or of one it is tried for.

A dry run has no real tensors: it follows on fake ones what a step would do on another device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_tried_for: ContextVar[str | None] = ContextVar("tried_for", default=None)


def kernel_device(tensor: Tensor) -> str:
    """Type of the device whose kernels are to be used on `tensor`."""
    return _tried_for.get() or tensor.device.type


def is_dry_run() -> bool:
    """Whether tensors have shapes only, so that no value may be read or drawn."""
    return _tried_for.get() is not None


@contextmanager
def dry_run_for(device: str) -> Iterator[None]:
    """Within, models behave on fake tensors as they do on `device`."""
    token = _tried_for.set(device)
    try:
        yield
    finally:
        _tried_for.reset(token)
