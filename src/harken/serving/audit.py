"""The audit: a row for every request, written in batches beside the work, never in its way."""

import asyncio
import logging
from collections import deque
from contextlib import suppress

from harken.core import HarkenError
from harken.serving.contract import AuditRow
from harken.storage.audit import AuditLog, RequestRow

MOST_WAITING = 10_000  # rows; a database that is down for longer loses the oldest
BATCH = 500
PAUSE_S = 0.2  # so that rows of a busy server are written together

logger = logging.getLogger(__name__)


class AuditWriter:
    """Rows wait in memory until the next batch. Belongs to one event loop."""

    def __init__(self, log: AuditLog, *, with_text: bool) -> None:
        self._log, self._with_text = log, with_text
        self._rows: deque[RequestRow] = deque()
        self._new = asyncio.Event()
        self.lost = 0

    async def add(self, row: AuditRow) -> None:
        """Takes a row. Never waits and never raises."""
        if len(self._rows) >= MOST_WAITING:
            self._rows.popleft()
            self.lost += 1
        self._rows.append(
            RequestRow(
                request_id=row.request_id,
                principal=row.principal,
                route=row.route,
                status=row.status,
                model=row.model,
                audio_s=row.audio_s,
                duration_s=row.duration_s,
                text=row.text if self._with_text else None,
                details=row.details,
            )
        )
        self._new.set()

    async def run(self) -> None:
        """Writes until cancelled, and what is left then."""
        try:
            while True:
                await self._new.wait()
                self._new.clear()
                await asyncio.sleep(PAUSE_S)
                try:
                    await self._write()
                except HarkenError as err:
                    logger.warning("%d audit rows wait: %s", len(self._rows), err)
                    self._new.set()
                    await asyncio.sleep(1.0)
        finally:
            with suppress(HarkenError):
                await self._write()

    async def _write(self) -> None:
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(BATCH, len(self._rows)))]
            try:
                await asyncio.shield(asyncio.to_thread(self._log.add, batch))
            except HarkenError:
                self._rows.extendleft(reversed(batch))
                raise
