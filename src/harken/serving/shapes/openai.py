"""Transcriptions, models and stream events as OpenAI's API writes them.

https://platform.openai.com/docs/api-reference/audio, and the types of its Python package.
"""

import json
import math
import zlib
from collections.abc import Iterator
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from harken.core import Segment, Transcript
from harken.serving.contract import ModelInfo, Transcription
from harken.serving.shapes.languages import language_name

Task = Literal["transcribe", "translate"]
OWNER = "harken"

_LEAST_CONFIDENCE = 1e-10  # below the smallest probability a model tells: keeps the logarithm finite


class Usage(TypedDict):
    """Whole seconds of audio, a begun one included."""

    type: Literal["duration"]
    seconds: int


class Language(TypedDict):
    code: str


class Brief(TypedDict):
    """The `json` format. `languages` are those the model told, which a translation does not show."""

    text: str
    languages: NotRequired[list[Language]]
    usage: Usage


class VerboseWord(TypedDict):
    word: str
    start: float
    end: float


class VerboseSegment(TypedDict):
    """A segment with every field of OpenAI's type, which are those of Whisper's own decoding.

    `seek` is the segment's start in hundredths of a second (Whisper: the start of its window, in that unit); `tokens`
    is empty, as a transcript holds no token ids; `temperature` is the one asked for, 0 without one; `avg_logprob` is
    the mean of the natural logarithms of the words' confidences, 0 where the model gives none; `compression_ratio` is
    that of the text under zlib, as Whisper reckons it; `no_speech_prob` is 0, as only what was taken for speech
    becomes a segment.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class Verbose(TypedDict):
    """The `verbose_json` format. `language` is a full English name, "unknown" where the model does not tell; that of a
    translation is english. `words` is empty for a model without word times.
    """

    task: Task
    language: str
    duration: float
    text: str
    words: NotRequired[list[VerboseWord]]
    segments: NotRequired[list[VerboseSegment]]
    usage: Usage


class Model(TypedDict):
    """`created` is the Unix time of the model's folder."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]


class TextDelta(TypedDict):
    """More of the text."""

    type: Literal["transcript.text.delta"]
    delta: str


class TextDone(TypedDict):
    """The end of a stream, with the whole text."""

    type: Literal["transcript.text.done"]
    text: str
    languages: list[Language]
    usage: Usage


class OpenAIErrorFields(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(TypedDict):
    """Every refusal and failure; also the last event of a stream that broke."""

    error: OpenAIErrorFields


def brief(result: Transcription, task: Task) -> Brief:
    transcript = result.transcript
    if task == "translate":
        return Brief(text=transcript.text, usage=usage(transcript))
    return Brief(text=transcript.text, languages=_languages(transcript), usage=usage(transcript))


def verbose(result: Transcription, task: Task, *, words: bool, segments: bool, temperature: float) -> Verbose:
    transcript = result.transcript
    view = Verbose(
        task=task,
        language="english" if task == "translate" else language_name(transcript.language),
        duration=transcript.duration_s,
        text=transcript.text,
        usage=usage(transcript),
    )
    if words:
        view["words"] = [VerboseWord(word=word.text, start=word.start_s, end=word.end_s) for word in transcript.words]
    if segments:
        numbered = enumerate(transcript.segments)
        view["segments"] = [verbose_segment(number, segment, temperature=temperature) for number, segment in numbered]
    return view


def verbose_segment(number: int, segment: Segment, *, temperature: float) -> VerboseSegment:
    text = segment.text.encode()
    known = [max(word.confidence, _LEAST_CONFIDENCE) for word in segment.words if word.confidence is not None]
    return VerboseSegment(
        id=number,
        seek=round(segment.start_s * 100),
        start=segment.start_s,
        end=segment.end_s,
        text=segment.text,
        tokens=[],
        temperature=temperature,
        avg_logprob=sum(math.log(confidence) for confidence in known) / len(known) if known else 0.0,
        compression_ratio=len(text) / len(zlib.compress(text)),
        no_speech_prob=0.0,
    )


def usage(transcript: Transcript) -> Usage:
    return Usage(type="duration", seconds=math.ceil(transcript.duration_s))


def model_view(info: ModelInfo) -> Model:
    return Model(id=info.name, object="model", created=info.created_s, owned_by=OWNER)


def stream_events(result: Transcription) -> Iterator[TextDelta | TextDone]:
    """A text delta for each segment, which together are the whole text, then the one event that ends the stream."""
    transcript = result.transcript
    for delta in _deltas(transcript):
        yield TextDelta(type="transcript.text.delta", delta=delta)
    yield TextDone(
        type="transcript.text.done",
        text=transcript.text,
        languages=_languages(transcript),
        usage=usage(transcript),
    )


def event_bytes(event: TextDelta | TextDone | OpenAIError) -> bytes:
    """A server-sent event without a name, as OpenAI sends those of transcriptions. JSON keeps it on one line."""
    return f"data: {json.dumps(event, ensure_ascii=True, allow_nan=False)}\n\n".encode()


def _deltas(transcript: Transcript) -> Iterator[str]:
    text, told = transcript.text, 0
    for segment in transcript.segments[:-1]:
        at = text.find(segment.text, told) if segment.text else -1
        if at >= 0:  # a segment whose words stand otherwise in the text comes with the next one
            yield text[told : at + len(segment.text)]
            told = at + len(segment.text)
    if text[told:]:
        yield text[told:]


def _languages(transcript: Transcript) -> list[Language]:
    told = [segment.language for segment in transcript.segments if segment.language]
    if not told and transcript.language:
        told = [transcript.language]
    return [Language(code=tag) for tag in dict.fromkeys(told)]
