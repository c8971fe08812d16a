"""The audit: a row for every request, written in batches beside the work, never in its way."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from harken.core import HarkenError
from harken.storage.audit import AuditLog, RequestRow

MOST_WAITING = 10_000  # rows; a database that is down for longer loses the oldest
BATCH = 500
RETRY_S = 1.0  # while the database is down
PAUSE_S = 0.2  # so that rows of a busy server are written together
END_S = 5.0  # for what is left at the end

logger = logging.getLogger(__name__)


class AuditWriter:
    """Rows wait in memory until the next batch. Belongs to one event loop."""

    def __init__(self, log: AuditLog, *, with_text: bool, lost: Callable[[int], None]) -> None:
        """`lost` is told how many rows will never be written, each time."""
        self._log, self._with_text, self._lost = log, with_text, lost
        self._rows: deque[RequestRow] = deque()
        self._new = asyncio.Event()

    async def add(self, row: RequestRow) -> None:
        """Takes a row. Never waits and never raises."""
        if len(self._rows) >= MOST_WAITING:
            self._rows.popleft()
            self._lost(1)
        self._rows.append(row if self._with_text else replace(row, text=None))
        self._new.set()

    async def run(self) -> None:
        """Writes until cancelled, and then what is left, for at most END_S seconds."""
        writing: asyncio.Task[None] | None = None
        is_told = False  # an outage is one line of the log
        try:
            while True:
                await self._new.wait()
                self._new.clear()
                await asyncio.sleep(PAUSE_S)
                writing = asyncio.ensure_future(self._write())
                try:
                    await asyncio.shield(writing)
                    is_told = False
                except HarkenError as err:
                    if not is_told:
                        logger.warning("audit rows wait: %s", err)
                    is_told = True
                    self._new.set()
                    await asyncio.sleep(RETRY_S)
        finally:
            await self._write_last(writing)

    async def _write_last(self, writing: "asyncio.Task[None] | None") -> None:
        why: object = f"no answer within {END_S:g} s"
        try:
            async with asyncio.timeout(END_S):
                if writing is not None:  # a thread cannot be cancelled, and needs the database
                    await asyncio.wait([writing])
                await self._write()
        except TimeoutError:
            pass
        except HarkenError as err:
            why = err
        if writing is not None:
            writing.cancel()  # which gives back what it has
            await asyncio.gather(writing, return_exceptions=True)
        if self._rows:
            logger.error("%d audit rows are lost: %s", len(self._rows), why)
            self._lost(len(self._rows))

    async def _write(self) -> None:
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(BATCH, len(self._rows)))]
            try:
                await self._log.calls.run(self._log.add, batch)
            except (HarkenError, asyncio.CancelledError):
                self._put_back(batch)
                raise
            except Exception:  # rows that no database takes must not keep the others waiting
                self._lost(len(batch))
                logger.exception("%d audit rows are lost", len(batch))

    def _put_back(self, batch: list[RequestRow]) -> None:
        """As far as there is room: meanwhile others came."""
        room = MOST_WAITING - len(self._rows)
        kept = batch[max(0, len(batch) - room) :]
        if len(kept) < len(batch):
            self._lost(len(batch) - len(kept))
        self._rows.extendleft(reversed(kept))
