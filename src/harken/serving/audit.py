"""The audit: a row for every request, written in batches beside the work, never in its way."""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import replace

from harken.core import HarkenError
from harken.storage.audit import AuditLog, RequestRow

MOST_WAITING = 10_000  # rows; a database that is down for longer loses the oldest
BATCH = 500
RETRY_S = 1.0  # while the database is down
PAUSE_S = 0.2  # so that rows of a busy server are written together

logger = logging.getLogger(__name__)


class AuditWriter:
    """Rows wait in memory until the next batch. Belongs to one event loop."""

    def __init__(self, log: AuditLog, *, with_text: bool) -> None:
        self._log, self._with_text = log, with_text
        self._rows: deque[RequestRow] = deque()
        self._new = asyncio.Event()
        self.lost = 0

    async def add(self, row: RequestRow) -> None:
        """Takes a row. Never waits and never raises."""
        if len(self._rows) >= MOST_WAITING:
            self._rows.popleft()
            self.lost += 1
        self._rows.append(row if self._with_text else replace(row, text=None))
        self._new.set()

    async def run(self) -> None:
        """Writes until cancelled, and what is left then."""
        writing: asyncio.Task[None] | None = None
        try:
            while True:
                await self._new.wait()
                self._new.clear()
                await asyncio.sleep(PAUSE_S)
                writing = asyncio.ensure_future(self._write())
                try:
                    await asyncio.shield(writing)
                except HarkenError as err:
                    logger.warning("%d audit rows wait: %s", len(self._rows), err)
                    self._new.set()
                    await asyncio.sleep(RETRY_S)
        finally:
            with suppress(HarkenError):
                if writing is not None:  # a thread cannot be cancelled, and needs the database
                    await writing
            await self._write_last()

    async def _write_last(self) -> None:
        try:
            await self._write()
        except HarkenError as err:
            logger.error("%d audit rows are lost: %s", len(self._rows), err)

    async def _write(self) -> None:
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(BATCH, len(self._rows)))]
            try:
                await asyncio.to_thread(self._log.add, batch)
            except HarkenError:
                self._put_back(batch)
                raise
            except Exception:  # rows that no database takes must not keep the others waiting
                self.lost += len(batch)
                logger.exception("%d audit rows are lost", len(batch))

    def _put_back(self, batch: list[RequestRow]) -> None:
        """As far as there is room: meanwhile others came."""
        room = MOST_WAITING - len(self._rows)
        kept = batch[max(0, len(batch) - room) :]
        self.lost += len(batch) - len(kept)
        self._rows.extendleft(reversed(kept))
