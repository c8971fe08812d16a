"""Audio of requests, kept for a while where the operator asks for it: stored beside the work, never in its way."""

import asyncio
import contextlib
import logging
import math
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harken.audio.limits import AudioDecodeError
from harken.audio.sniff import HEAD_BYTES, identify
from harken.audio.source import AudioSource
from harken.core import HarkenError, MissingPart, Strict
from harken.http.errors import Overloaded
from harken.serving.metrics import ServerMetrics
from harken.storage.request_audio import RequestAudio, RequestFacts

RETRY_S = 5.0  # while the store is down
LAST_S = 10.0  # for what still waits when the server ends
FORGET_S = 10.0  # for a file that is being stored right now
_WARN_S = 60.0  # between two warnings
_ODD = "application/octet-stream"
_MEDIA_TYPES = {
    "wav": "audio/wav",
    "rifx": "audio/wav",
    "rf64": "audio/wav",
    "aiff": "audio/aiff",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "mp4": "audio/mp4",
    "matroska": "video/webm",
    "amr": "audio/amr",
    "au": "audio/basic",
    "caf": "audio/x-caf",
    "asf": "audio/x-ms-wma",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings(Strict):
    """For how long the audio of files that were transcribed at once is kept, as it was uploaded; None: not at all.

    What waits to be stored is bounded; what comes beyond that is not kept, and counted.
    """

    keep_s: float | None = None
    pending_files: int = 64
    pending_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if self.keep_s is not None and not (math.isfinite(self.keep_s) and self.keep_s > 0):
            raise ValueError(f"keep_s is {self.keep_s}; use seconds above 0, or leave it empty to keep nothing")
        for name in ("pending_files", "pending_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 or more")


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Taken:
    """A link of its own to an uploaded file, which therefore outlives the upload."""

    path: Path
    size_bytes: int


_Item = tuple[Taken, RequestFacts]


class AudioKeeper:
    """Takes uploads, and stores those whose request was answered. Belongs to one event loop."""

    def __init__(
        self,
        store: RequestAudio,
        settings: RetentionSettings,
        *,
        spool: Path,
        metrics: ServerMetrics,
        with_text: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`settings` with a `keep_s`; `spool` is the folder of the uploads, in the file system they are in."""
        assert settings.keep_s is not None
        self._store, self._settings, self._keep_s = store, settings, settings.keep_s
        self._spool, self._metrics, self._with_text, self._clock = spool, metrics, with_text, clock
        self._waiting: deque[_Item] = deque()
        self._new = asyncio.Event()
        self._storing: asyncio.Task[None] | None = None
        self._current: _Item | None = None  # which is being stored
        self._files = self._bytes = 0
        self._warned_s = -math.inf
        self._fails = False

    def take(self, audio: Path) -> Taken | None:
        """A hold on an uploaded file, to be given to `keep` or `drop`; None where too many wait. Never raises."""
        try:
            size = audio.stat().st_size
            if self._files >= self._settings.pending_files or self._bytes + size > self._settings.pending_bytes:
                self._lose(1, "too much waits to be stored")
                return None
            path = self._spool / f"kept-{secrets.token_hex(16)}"
            os.link(audio, path)
        except OSError as err:
            self._lose(1, f"{self._spool} holds no second link to it ({err.strerror})")
            return None
        self._files, self._bytes = self._files + 1, self._bytes + size
        return Taken(path=path, size_bytes=size)

    def keep(self, taken: Taken, facts: RequestFacts) -> None:
        """Stores a file soon. Its text is kept only where the server keeps texts. Never waits and never raises."""
        self._waiting.append((taken, facts))
        self._new.set()

    def drop(self, taken: Taken) -> None:
        """Gives a file up: nobody got an answer."""
        self._release(taken)

    async def forget(self, request_id: str) -> int:
        """Gives up what waits of a request, and waits for what is being stored, so that it can be deleted next.

        Returns how many files waited. Raises Overloaded where that takes too long.
        """
        mine = [item for item in self._waiting if item[1].request_id == request_id]
        for item in mine:
            self._waiting.remove(item)
            if item is not self._current:
                self._release(item[0])
        if self._storing is not None and self._current is not None and self._current[1].request_id == request_id:
            done, _ = await asyncio.wait([self._storing], timeout=FORGET_S)
            if not done:
                raise Overloaded("The audio is being stored.", hint="Ask again.", retry_after_s=FORGET_S)
        return len(mine)

    async def run(self) -> None:
        """Stores until cancelled, and for a while what is left then."""
        try:
            while True:
                await self._new.wait()
                self._new.clear()
                while self._waiting:
                    if not await self._store_first():
                        await asyncio.sleep(RETRY_S)
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._store_last(), LAST_S)
            if self._waiting:
                self._lose(len(self._waiting), "the server ended before it was stored")

    async def _store_last(self) -> None:
        if self._storing is not None:  # a thread cannot be cancelled
            await asyncio.wait([self._storing])
        while self._waiting and await self._store_first():
            pass

    async def _store_first(self) -> bool:
        """Whether the file that waits longest is done with, stored or not; false where the store is down."""
        self._current = item = self._waiting[0]
        self._storing = asyncio.create_task(self._store.calls.run(self._put, *item))
        self._storing.add_done_callback(lambda task: self._stored(item, task))
        await asyncio.wait([self._storing])
        return not self._fails

    def _stored(self, item: _Item, task: "asyncio.Task[None]") -> None:
        self._storing = self._current = None
        if task.cancelled():  # the event loop ends
            return
        error = task.exception()
        self._note(error)
        is_wanted = item in self._waiting  # nobody forgot it meanwhile
        if is_wanted and self._fails:
            return
        if is_wanted:
            self._waiting.remove(item)
        if error is None:
            self._metrics.audio_kept("kept")
        elif is_wanted:
            self._lose(1, str(error))
        self._release(item[0])

    def _note(self, error: BaseException | None) -> None:
        fails = isinstance(error, MissingPart)
        if fails and not self._fails:
            logger.warning("the audio of requests waits to be stored: %s", error)
        elif self._fails and not fails:
            logger.info("the audio of requests is stored again")
        if error is not None and not isinstance(error, HarkenError):
            logger.error("the audio of a request cannot be stored", exc_info=error)
        self._fails = fails

    def _put(self, taken: Taken, facts: RequestFacts) -> None:
        text = facts.text if self._with_text else None
        self._store.put(taken.path, replace(facts, text=text, media_type=_media_type(taken)), keep_s=self._keep_s)

    def _release(self, taken: Taken) -> None:
        self._files, self._bytes = self._files - 1, self._bytes - taken.size_bytes
        taken.path.unlink(missing_ok=True)

    def _lose(self, files: int, reason: str) -> None:
        for _ in range(files):
            self._metrics.audio_kept("dropped")
        if self._clock() - self._warned_s >= _WARN_S:
            self._warned_s = self._clock()
            logger.warning("the audio of a request is not kept: %s", reason)


def _media_type(taken: Taken) -> str:
    """By the first bytes of a file: what a client calls it may be anything."""
    handle = os.open(taken.path, os.O_RDONLY | os.O_CLOEXEC)
    with AudioSource(taken.path.name, handle=handle, size=taken.size_bytes) as source:
        try:
            found = identify(source, source.read_at(0, HEAD_BYTES)).format
        except AudioDecodeError:
            return _ODD
    return _MEDIA_TYPES.get(found, _ODD)
