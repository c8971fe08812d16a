"""What every transcription leaves behind, however it ends: an audit row, and seconds off the caller's quota."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from starlette.requests import ClientDisconnect, Request

from harken.http.auth import Principal
from harken.http.errors import STATUSES, code_of, status_of
from harken.http.metrics import CLIENT_LEFT
from harken.http.request_ids import request_id_of
from harken.serving.contract import TranscribeOptions, Transcription
from harken.serving.parts import ServerParts, parts_of
from harken.serving.retention import Taken
from harken.storage.audit import RequestRow
from harken.storage.request_audio import RequestFacts

FIRST_ERROR = 400  # statuses from here on are errors


@dataclass(slots=True, kw_only=True)
class Record:
    """What is known of a request while it runs."""

    request_id: str
    route: str
    principal: Principal
    parts: ServerParts
    status: int = 200
    results: list[Transcription] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    _taken: list[tuple[Taken, Transcription]] = field(default_factory=list)

    async def transcribed(self, audio: Path, options: TranscribeOptions) -> Transcription:
        """The service's transcription, charged to the caller. Raises RateExceeded when it does not fit their day."""

        async def charge(audio_s: float) -> None:
            await self.parts.limiter.charge_audio(self.principal, audio_s)

        result = await self.parts.transcription.transcribe(audio, options, admit=charge, owner=self.principal.id)
        self.results.append(result)
        taken = None if self.parts.keeper is None else self.parts.keeper.take(audio)
        if taken is not None:
            self._taken.append((taken, result))
        return result

    def settle(self) -> None:
        """Has the audio kept where it was answered and the server keeps any, at the end of the request."""
        keeper, taken, self._taken = self.parts.keeper, self._taken, []
        if keeper is None or not taken:
            return
        if self.status >= FIRST_ERROR:
            for upload, _ in taken:
                keeper.drop(upload)
            return
        self.details["kept_files"] = str(len(taken))
        for upload, result in taken:
            keeper.keep(upload, self._facts(result))

    def _facts(self, result: Transcription) -> RequestFacts:
        return RequestFacts(
            request_id=self.request_id,
            principal=self.principal.id,
            route=self.route,
            model=result.model,
            duration_s=result.transcript.duration_s,
            at_s=time.time(),
            text=result.transcript.text,
        )

    def failed(self, error: BaseException, request: Request) -> None:
        if isinstance(error, ClientDisconnect | asyncio.CancelledError):
            self.status, self.details["error"] = CLIENT_LEFT, "client_left"
        else:
            self.status = status_of(error, getattr(request.app.state, "error_statuses", STATUSES))
            self.details["error"] = code_of(error)


@asynccontextmanager
async def recorded(request: Request, principal: Principal) -> AsyncIterator[Record]:
    """The record of a request, written when the context ends, with what ended it."""
    record = Record(
        request_id=request_id_of(request.scope),
        route=request.scope["route"].path,
        principal=principal,
        parts=parts_of(request),
    )
    began_s = time.perf_counter()
    try:
        yield record
    except BaseException as err:
        record.failed(err, request)
        raise
    finally:
        record.settle()
        with anyio.CancelScope(shield=True):
            await record.parts.audit(_row(record, time.perf_counter() - began_s))


def _row(record: Record, duration_s: float) -> RequestRow:
    results = record.results  # of a batch, one for each file
    return RequestRow(
        request_id=record.request_id,
        principal=record.principal.id,
        route=record.route,
        status=record.status,
        model=results[0].model if results else None,
        audio_s=sum(result.transcript.duration_s for result in results) if results else None,
        duration_s=duration_s,
        text="\n".join(result.transcript.text for result in results) if results else None,
        details=record.details,
    )
