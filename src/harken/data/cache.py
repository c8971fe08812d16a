"""A cache of decoded audio (or of features) that never takes more memory than it was given."""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import MissingPart
from harken.core.machine import read_memory

SMALL_DATASET_BYTES = 10_000_000_000
"""Sets above this are not cached unless a size is asked for."""

_AVAILABLE_SHARE = 0.5  # of the free memory; the rest is for the model, its gradients and other processes
_INT16_SCALE = np.float32(1 / 32768)
_PROBE_SAMPLES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """`stored_bytes` counts array contents; `refused` counts arrays that came when the cache was full."""

    items: int
    stored_bytes: int
    max_bytes: int
    hits: int
    misses: int
    refused: int

    @property
    def hit_share(self) -> float:
        """Share of look-ups that were answered, 0 when there were none."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class ArrayCache:
    """Keeps arrays until it is full, then keeps what it has. Thread-safe.

    Nothing is evicted to make room. Training reads everything once an epoch in a new order, so what was used last is
    what is needed latest. An LRU cache with room for a share c of the data answers c + (1 - c) ln(1 - c) of the
    look-ups (15 % for a half), and none at all in a fixed order; keeping the first half answers 50 % of both.

    float32 arrays whose values are all multiples of 1/32768 in [-1, 1), as decoding 16-bit audio at its own rate
    gives, take half the room and come back bit for bit equal. Arrays come back read-only: they are shared.
    """

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` of 0 keeps nothing."""
        if max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}; use 0 (no cache) or more")
        self._lock = threading.Lock()
        self._arrays: dict[Hashable, npt.NDArray[Any]] = {}
        self._max_bytes = max_bytes
        self._stored = self._hits = self._misses = self._refused = 0

    def get(self, key: Hashable) -> npt.NDArray[np.float32] | None:
        """The array stored under `key`, read-only, or None."""
        with self._lock:
            found = self._arrays.get(key)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
        return _expanded(found)

    def put(self, key: Hashable, value: npt.NDArray[np.float32]) -> bool:
        """Store an array (a copy, if it is a view of something larger or may change). False where there is no room."""
        if self._max_bytes == 0:
            return False
        packed = _packed(value)
        with self._lock:
            before = self._arrays.get(key)
            stored = self._stored + packed.nbytes - (0 if before is None else before.nbytes)
            if stored > self._max_bytes:
                self._refused += 1
                return False
            self._arrays[key] = packed
            self._stored = stored
        return True

    def pop(self, key: Hashable) -> npt.NDArray[np.float32] | None:
        """Take an array out of the cache: its room is free afterwards. Not counted as a look-up."""
        with self._lock:
            found = self._arrays.pop(key, None)
            self._stored -= 0 if found is None else found.nbytes
        return None if found is None else _expanded(found)

    def get_or_load(self, key: Hashable, load: Callable[[], npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """The array stored under `key`, or what `load` returns, stored if there is room.

        Two threads that miss the same key at once both load it; loading happens outside the lock.
        """
        found = self.get(key)
        if found is None:
            found = load()
            self.put(key, found)
        return found

    def release(self) -> int:
        """Drop everything and halve the bound, for a process that runs short of memory. Returns the bytes freed."""
        with self._lock:
            freed = self._stored
            self._arrays.clear()
            self._stored = 0
            self._max_bytes //= 2
        return freed

    @property
    def stats(self) -> CacheStats:
        """How full the cache is and how often it answered."""
        with self._lock:
            return CacheStats(
                items=len(self._arrays),
                stored_bytes=self._stored,
                max_bytes=self._max_bytes,
                hits=self._hits,
                misses=self._misses,
                refused=self._refused,
            )


def default_cache_bytes(audio_s: float, *, sample_rate_hz: int, available_bytes: int | None = None) -> int:
    """Bound for the cache of a data set with `audio_s` seconds of audio: its decoded size, or what memory allows.

    0 for sets of 10 GB and more (as float32). Otherwise at most half of the memory available now, to this machine and
    to the container. Raises MissingPart where the system does not say how much that is.
    """
    decoded_bytes = round(audio_s * sample_rate_hz) * np.dtype(np.float32).itemsize
    if decoded_bytes >= SMALL_DATASET_BYTES:
        return 0
    available = read_memory().available if available_bytes is None else available_bytes
    if available is None:
        raise MissingPart(
            "The free memory of this system cannot be read without the package psutil.",
            hint="Install it with: pip install 'harken[train]', or give the cache a size.",
        )
    return min(decoded_bytes, int(available * _AVAILABLE_SHARE))


def _packed(value: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """int16 where that loses nothing, else a float32 array of its own."""
    if value.dtype == np.float32 and value.ndim == 1 and _is_int16(value[:_PROBE_SAMPLES]) and _is_int16(value):
        return (value * np.float32(32768)).astype(np.int16)
    return np.array(value, dtype=np.float32, order="C")


def _is_int16(value: npt.NDArray[np.float32]) -> bool:
    scaled = value * np.float32(32768)
    if not (scaled.min(initial=0) >= -32768 and scaled.max(initial=0) <= 32767):  # NaN compares false too
        return False
    # Bits, not values: -0.0 equals 0.0, yet must come back as it was.
    back = scaled.astype(np.int16).astype(np.float32) * _INT16_SCALE
    return np.array_equal(back.view(np.int32), np.ascontiguousarray(value).view(np.int32))


def _expanded(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    value: npt.NDArray[np.float32] = stored
    if stored.dtype == np.int16:
        value = stored.astype(np.float32) * _INT16_SCALE
    value.setflags(write=False)
    return value
