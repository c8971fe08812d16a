"""How far live streams are behind, so that files can wait for them."""

import threading


class StreamLoad:
    """Counts the chunks of live streams that wait to be heard. Any number of threads and event loops may use one."""

    def __init__(self) -> None:
        self._pending = 0
        self._changed = threading.Condition()

    @property
    def pending(self) -> int:
        """Chunks that wait now."""
        return self._pending

    def add(self, chunks: int = 1) -> None:
        """So many more wait. Each is taken back by one `remove`."""
        with self._changed:
            self._pending += chunks

    def remove(self, chunks: int = 1) -> None:
        """So many were heard, or given up. Raises ValueError for more than were added."""
        with self._changed:
            if chunks > self._pending:
                raise ValueError(f"chunks is {chunks}; only {self._pending} wait")
            self._pending -= chunks
            if not self._pending:
                self._changed.notify_all()

    def wait_quiet(self, timeout_s: float) -> bool:
        """Waits in this thread until no chunk waits, at most so long. True where none does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)
