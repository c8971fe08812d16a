"""What a server answers, as values. Times are in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from harken.client.errors import UnexpectedAnswer
from harken.core import Segment, Transcript, Word

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """What a request spent where on the server; `inference_s` is that of the whole batch it shared."""

    decode_s: float = 0.0
    queue_s: float = 0.0
    inference_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionResult:
    """The text of one piece of audio. Words, in whole and in segments, are there where their times were asked for.

    `confidence` is the mean of the words' own, None where the model gives none. `batch_size` is how many requests
    shared the model's pass; `cached` says that there was none, as the same was asked before.
    """

    text: str
    model: str
    duration_s: float
    language_detected: str | None = None
    confidence: float | None = None
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] = ()
    timings: Timings = field(default_factory=Timings)
    batch_size: int = 1
    cached: bool = False
    request_id: str | None = None

    @property
    def transcript(self) -> Transcript:
        """The same as the library gives it, for rendering and scoring."""
        return Transcript(
            text=self.text, duration_s=self.duration_s, segments=self.segments, language=self.language_detected
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model of the server, by the name that requests use. `created_s` is Unix time."""

    id: str
    created_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a server says of a model that it was given. `path` is the folder on the server, `created_s` Unix time."""

    name: str
    family: str
    sample_rate_hz: int
    path: str
    languages: tuple[str, ...] = ()
    created_s: int | None = None
    loaded: bool = False
    can_translate: bool = False
    can_stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """That the process runs."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one dependency of the server said, after `ms`. Without a `required` one nothing works."""

    ok: bool
    required: bool = True
    detail: str = ""
    ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the server can work, with all its parts (ready), without some (degraded), or not at all."""

    status: Literal["ready", "degraded", "not_ready"]
    checks: Mapping[str, Check] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.status != "not_ready"


JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Many files given at once: `items` is how many, the other counts say how many of them stand where; `held_up` are
    those of the queued and running ones that wait for something the server lacks. Times are Unix seconds.
    """

    id: str
    state: JobState
    items: int
    queued: int = 0
    running: int = 0
    held_up: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    created_s: float | None = None
    finished_s: float | None = None

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAnswer:
    """What the server wraps a job in."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why one file of a job has no text."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One file of a job, by its place in the submission: its result once it is done, or its error."""

    index: int
    name: str
    state: JobState
    result: TranscriptionResult | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPage:
    """Some files of a job, in order."""

    results: tuple[JobResult, ...]


def read(kind: type[T], payload: object) -> T:
    """`payload` (plain data of JSON) as a `kind`. Keys this version does not know are passed over.

    Raises UnexpectedAnswer for data of another shape.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(_without_nulls(payload))
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UnexpectedAnswer(
            f"The server's answer is no {kind.__name__} ({place}: {first['msg']}).",
            hint="Check that the address is that of a Harken server, and its version.",
        ) from err


def _without_nulls(value: object) -> object:
    """A null says the same as a missing key: the default."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
