"""Models in memory: loaded when first asked for, the least recently used given up for the next."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ModelT = TypeVar("ModelT")


class LoadedModels(Generic[KeyT, ModelT]):
    """Any number of threads may ask. Those that want a model which is being loaded wait for that one load; those that
    want another one do not.
    """

    def __init__(self, load: Callable[[KeyT], ModelT], *, most: int, kept: Mapping[KeyT, ModelT] | None = None) -> None:
        """At most `most` models are held at a time, beside those `kept` always. One that somebody still works with when
        it is given up leaves the memory when that work is done.
        """
        if most < 1:
            raise ValueError(f"most is {most}; use 1 or more")
        self._load, self._most, self._kept = load, most, dict(kept or {})
        self._held: OrderedDict[KeyT, Future[ModelT]] = OrderedDict()  # the least recently used first
        self._lock = Lock()

    def __contains__(self, key: KeyT) -> bool:
        """Whether a model is in memory, or on its way there."""
        with self._lock:
            return key in self._kept or key in self._held

    def get(self, key: KeyT) -> ModelT:
        """The model. What loading raises is raised in every thread that waits for it; the next call tries again."""
        if key in self._kept:
            return self._kept[key]
        with self._lock:
            future = self._held.get(key)
            is_new = future is None
            if future is None:
                while len(self._held) >= self._most:  # before the next is loaded: memory may not hold both
                    self._held.popitem(last=False)
                future = self._held[key] = Future()
            self._held.move_to_end(key)
        if is_new:
            self._fill(key, future)
        return future.result()

    def _fill(self, key: KeyT, future: "Future[ModelT]") -> None:
        try:
            future.set_result(self._load(key))
        except BaseException as err:  # noqa: BLE001 (whatever it is: those who wait must hear of it)
            with self._lock:
                if self._held.get(key) is future:
                    del self._held[key]
            future.set_exception(err)
