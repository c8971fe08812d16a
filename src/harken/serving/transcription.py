"""From an uploaded file to a transcription: decode, look into the cache, wait for the model, hear."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from harken.audio.limits import AudioDecodeError, AudioLimitError
from harken.core import Strict
from harken.core.files import sha256_file
from harken.http.errors import RateExceeded
from harken.serving.cached_transcripts import read_transcript, written_transcript
from harken.serving.contract import DEFAULT_MODEL, Admit, Priority, Timings, TranscribeOptions, Transcription
from harken.serving.decoding.decoded import DecodedAudio
from harken.serving.decoding.errors import AudioTooShort, DamagedAudio, DecodingFailed, WrongHeader
from harken.serving.decoding.pool import DecodePool
from harken.serving.errors import QueueFull
from harken.serving.metrics import DecodeFailure, ServerMetrics
from harken.serving.scheduling.model_queue import ModelQueue
from harken.serving.scheduling.settings import QueueSettings
from harken.serving.scheduling.stream_load import StreamLoad
from harken.serving.served.models import ServedModels

_FAILURES: Mapping[type[Exception], DecodeFailure] = {
    AudioTooShort: "too_short",
    DecodingFailed: "decoder",
    DamagedAudio: "damaged",
    WrongHeader: "wrong_header",
    AudioLimitError: "beyond_limits",
    AudioDecodeError: "not_audio",
}

logger = logging.getLogger(__name__)


class ResultCache(Protocol):
    """Where results are kept: `harken.storage.cache.Cache`. A cache that is down gives None and takes what comes."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, ttl_s: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSettings(Strict):
    """How long results are kept where there is a cache. Equal files under way at the same time share their work.

    Each caller has results of their own, so that nobody learns from a quick answer what others sent, unless
    `share_between_callers`.
    """

    keep_s: float = 3600.0
    share_work: bool = True
    share_between_callers: bool = False

    def __post_init__(self) -> None:
        if not self.keep_s > 0:
            raise ValueError(f"keep_s is {self.keep_s}; use seconds above 0")


class Transcriber:
    """Answers `TranscriptionService`. Belongs to one event loop."""

    def __init__(
        self,
        *,
        models: ServedModels,
        decoder: DecodePool,
        metrics: ServerMetrics,
        queue: QueueSettings | None = None,
        results: ResultSettings | None = None,
        cache: ResultCache | None = None,
        load: StreamLoad | None = None,
    ) -> None:
        """`load` tells how far live streams are behind; without `cache` every file is heard."""
        self._models, self._decoder, self._metrics, self._cache = models, decoder, metrics, cache
        self._queue_settings, self._results = queue or QueueSettings(), results or ResultSettings()
        self._load = load or StreamLoad()
        self._queues: dict[str, ModelQueue] = {}
        self._under_way: dict[str, asyncio.Future[Transcription]] = {}

    async def transcribe(
        self,
        audio: Path,
        options: TranscribeOptions,
        *,
        priority: Priority = Priority.REQUEST,
        admit: Admit | None = None,
        owner: str = "",
    ) -> Transcription:
        """See `TranscriptionService.transcribe`."""
        began = time.monotonic()
        name = self._models.find(options.model).name
        options = replace(options, model=name)
        with self.queue(name).place(priority):
            found = await self._found_or_heard(audio, options, priority, admit or _admit_all, owner)
        timings = replace(found.timings, total_s=time.monotonic() - began)
        duration_s = found.transcript.duration_s
        self._metrics.request_done(name, timings, audio_s=duration_s, cached=found.cached)
        return replace(found, timings=timings)

    def queue(self, name: str) -> ModelQueue:
        """The queue of a served model, by its own name."""
        if name not in self._queues:
            self._queues[name] = ModelQueue(name, self._queue_settings, metrics=self._metrics, load=self._load)
        return self._queues[name]

    def queues(self) -> dict[str, dict[str, float | None]]:
        """How long and how fast each queue is, for `/stats`."""
        return {
            name: {
                "waiting": queue.waiting,
                "waiting_audio_s": round(queue.waiting_audio_s, 3),
                "audio_s_per_s": queue.audio_s_per_s,
            }
            for name, queue in self._queues.items()
        }

    async def drain(self, timeout_s: float) -> bool:
        """Waits until every request has its answer, at most so long. True where none is left."""
        until = time.monotonic() + timeout_s
        while any(queue.in_house for queue in self._queues.values()):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(0.02)
        return True

    async def close(self) -> None:
        """Ends all work; what is under way fails. Decoder and models are closed by whoever made them."""
        for queue in self._queues.values():
            await asyncio.to_thread(queue.close)

    async def _found_or_heard(
        self, audio: Path, options: TranscribeOptions, priority: Priority, admit: Admit, owner: str
    ) -> Transcription:
        if self._cache is None and not self._results.share_work:
            return (await self._hear(audio, options, priority, admit))[0]
        file_hash, identity = await asyncio.gather(
            asyncio.to_thread(sha256_file, audio), self._models.identity(options.model)
        )
        key = _key(file_hash, identity, options, "" if self._results.share_between_callers else owner)
        work = f"{priority} {key}"  # a request does not share the patience of a job
        while True:
            if (cached := await self._cached(key, options.model)) is not None:
                await admit(cached.transcript.duration_s)
                return cached
            other = self._under_way.get(work) if self._results.share_work else None
            if other is None:
                async with self._leading(work) as shared:
                    heard, by = await self._hear(audio, options, priority, admit)
                    if self._cache is not None and by == identity:  # else the model was swapped in between
                        written = await asyncio.to_thread(written_transcript, heard.transcript)
                        await self._cache.put(key, written, self._results.keep_s)
                    shared.set_result(heard)
                return heard
            await asyncio.wait([other])  # not the future itself: whoever waits may leave, and so may who leads
            if not other.cancelled():
                shared_work = other.result()
                await admit(shared_work.transcript.duration_s)
                return shared_work

    @asynccontextmanager
    async def _leading(self, key: str) -> AsyncIterator["asyncio.Future[Transcription]"]:
        """Lets those share some work who come with the same meanwhile. When the one who leads leaves, the next of them
        begins anew, with a file of its own.
        """
        shared: asyncio.Future[Transcription] = asyncio.get_running_loop().create_future()
        self._under_way[key] = shared
        try:
            yield shared
        except (asyncio.CancelledError, RateExceeded):  # which says nothing of those who share
            shared.cancel()
            raise
        except Exception as err:
            shared.set_exception(err)
            shared.exception()  # nobody may have shared it
            raise
        finally:
            if self._under_way.get(key) is shared:
                del self._under_way[key]

    async def _cached(self, key: str, model: str) -> Transcription | None:
        value = None if self._cache is None else await self._cache.get(key)
        transcript = None if value is None else await asyncio.to_thread(read_transcript, value)
        return None if transcript is None else Transcription(transcript=transcript, model=model, cached=True)

    async def _hear(
        self, audio: Path, options: TranscribeOptions, priority: Priority, admit: Admit
    ) -> tuple[Transcription, str]:
        """The transcription, and the identity of the model that made it."""
        queue = self.queue(options.model)
        async with self._models.lease(options.model, options) as lease:
            with ExitStack() as stack:
                with queue.arriving():
                    found = await self._decoded(audio, lease.recognizer.sample_rate_hz)
                    decoded = stack.enter_context(closing(found))
                    queue.check_room(decoded.duration_s)  # nobody pays for what will be refused
                    await admit(decoded.duration_s)
                    work = queue.add(decoded, lease.recognizer, priority)
                heard = await queue.outcome(work)
            timings = Timings(decode_s=decoded.decode_s, queue_s=heard.queue_s, inference_s=heard.inference_s)
            made = Transcription(
                transcript=heard.transcript, model=lease.name, timings=timings, batch_size=heard.batch_size
            )
            return made, lease.identity

    async def _decoded(self, audio: Path, sample_rate_hz: int) -> DecodedAudio:
        try:
            return await self._decoder.decode(audio, sample_rate_hz=sample_rate_hz)
        except AudioDecodeError as err:
            reason = next(_FAILURES[kind] for kind in type(err).__mro__ if kind in _FAILURES)
            self._metrics.decode_failed(reason)
            raise
        except QueueFull:
            self._metrics.refused("queue_full")
            raise


async def _admit_all(audio_s: float) -> None:
    pass


def _key(file_hash: str, identity: str, options: TranscribeOptions, owner: str) -> str:
    """Of a result: everything that it depends on, and whose it is."""
    parts = [file_hash, identity, owner, asdict(replace(options, model=DEFAULT_MODEL))]
    return "transcript:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
