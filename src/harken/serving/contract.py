"""What the parts of the server agree on: requests, results, live streams, and who gives them.

The routes know these types only; scheduling and models stand behind them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal, Protocol

from harken.core import Transcript
from harken.inference.streaming.events import StreamEvent

DEFAULT_MODEL = "default"


class Priority(IntEnum):
    """Which waiting work is taken first, the lowest number first."""

    REQUEST = 1  # somebody waits for the answer
    JOB = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeOptions:
    """What changes a model's answer. Equal options and equal audio give equal transcripts, so both are cache keys.

    `language` is a BCP-47 tag, None: the model's own or its guess. `temperature` 0 to 1, None: the model's own.
    """

    model: str = DEFAULT_MODEL
    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    temperature: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds a request spent in each stage; `inference_s` is that of its whole batch."""

    decode_s: float = 0.0
    queue_s: float = 0.0
    inference_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """A transcript, the name of the model that made it, and how. `batch_size` is how many requests shared the pass."""

    transcript: Transcript
    model: str
    timings: Timings = field(default_factory=Timings)
    batch_size: int = 1
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A served model as clients see it. `languages` are BCP-47 tags, empty where it does not say."""

    name: str
    family: str
    sample_rate_hz: int
    languages: tuple[str, ...]
    created_s: int  # Unix time of its folder
    loaded: bool
    can_translate: bool = False
    can_stream: bool = True


Admit = Callable[[float], Awaitable[None]]
"""Told the seconds of some audio before it is heard; raises where they may not be."""


class TranscriptionService(Protocol):
    """Audio files in, transcriptions out."""

    async def transcribe(
        self,
        audio: Path,
        options: TranscribeOptions,
        *,
        priority: Priority = Priority.REQUEST,
        admit: Admit | None = None,
        owner: str = "",
    ) -> Transcription:
        """Transcription of a file, which is not kept. Cancelling the task gives up its place and its work within 1 s.

        `admit` is called once, before the file is heard. Results are kept for `owner`. Raises what `admit` raises;
        UnknownModel; AudioDecodeError and AudioLimitError; InputError for options the model cannot take; QueueFull;
        RunFailed where the engine broke.
        """
        ...

    def queues(self) -> Mapping[str, Mapping[str, float | None]]:
        """How long and how fast the queue of each model is, for `/stats`."""
        ...


class ModelCatalog(Protocol):
    """The models that are served."""

    def list(self) -> list[ModelInfo]: ...

    def find(self, name: str) -> ModelInfo:
        """By name; `default` and OpenAI's names (whisper-1, gpt-4o-transcribe ...) mean the default model.

        Raises UnknownModel.
        """
        ...

    async def swap(self, name: str, folder: Path) -> ModelInfo:
        """Puts the model in a folder behind a name, once it is loaded. Who works with the old one finishes with it.

        Raises UnknownModel; SwapUnderWay; MissingPart where the new one cannot be loaded, and Overloaded where models
        in use leave no memory for it: the old one then stays.
        """
        ...


Encoding = Literal["linear16", "linear32", "mulaw", "alaw", "opus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a live stream is heard. `linear16` is signed 16-bit, `linear32` 32-bit float, both little-endian; `opus` one
    packet a message. Channels are mixed down. None: the server's own setting.
    """

    model: str = DEFAULT_MODEL
    language: str | None = None
    encoding: Encoding = "linear16"
    sample_rate_hz: int = 16_000
    channels: int = 1
    endpoint_pause_s: float | None = None
    endpointing: bool = True


class LiveStream(Protocol):
    """One stream of audio and its events, whose times count from its first sample.

    `events` ends after `Final`, which follows `finish`; it raises what went wrong with the stream (RunFailed). An
    `Endpoint` with rule "flush" follows each `flush`.
    """

    async def push(self, audio: bytes) -> None:
        """More audio; a cut sample waits for its other bytes. Returns at once while the backlog is small, else when
        there is room; raises StreamFlooded once the backlog is beyond what the server holds, InputError for a packet
        that cannot be decoded.
        """
        ...

    async def flush(self) -> None:
        """Commit all that was heard so far, and go on."""
        ...

    async def finish(self) -> None:
        """No more audio comes; the last events follow."""
        ...

    def events(self) -> AsyncIterator[StreamEvent]: ...

    @property
    def heard_s(self) -> float:
        """Seconds of audio pushed so far."""
        ...

    @property
    def model(self) -> str: ...


class LiveService(Protocol):
    """Live streams, heard by the served models."""

    def open(self, options: LiveOptions) -> AbstractAsyncContextManager[LiveStream]:
        """A stream, whose work ends with the context.

        Entering raises UnknownModel, InputError for options the model cannot take, QueueFull where there are as many
        streams as the server takes.
        """
        ...
