"""A transcription and an error in the server's own form."""

from typing import NotRequired

from typing_extensions import TypedDict

from harken.core import Segment, Word
from harken.serving.contract import Transcription


class WordView(TypedDict):
    """A word with its span in seconds and the probability the model gave it."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None


class SegmentView(TypedDict):
    """A stretch of the transcript. `words` only with `word_times`."""

    text: str
    start_s: float
    end_s: float
    language: str | None
    words: NotRequired[list[WordView]]


class TimingsView(TypedDict):
    """Seconds spent in each stage; `inference_s` is that of the whole batch the request shared."""

    decode_s: float
    queue_s: float
    inference_s: float
    total_s: float


class TranscriptionView(TypedDict):
    """The answer of `POST /transcribe`. `confidence` is the mean of the words' own. `words` only with `word_times`."""

    text: str
    language_detected: str | None
    model: str
    duration_s: float
    confidence: float | None
    segments: list[SegmentView]
    words: NotRequired[list[WordView]]
    timings: TimingsView
    batch_size: int
    cached: bool
    request_id: str


class ErrorFields(TypedDict):
    """`code` is for programs, `hint` is what to do next."""

    code: str
    message: str
    hint: str
    request_id: str


class ErrorView(TypedDict):
    """Every refusal and failure."""

    error: ErrorFields


def transcription_view(result: Transcription, *, request_id: str, word_times: bool) -> TranscriptionView:
    """The answer of `POST /transcribe`."""
    transcript, timings = result.transcript, result.timings
    known = [word.confidence for word in transcript.words if word.confidence is not None]
    view = TranscriptionView(
        text=transcript.text,
        language_detected=transcript.language,
        model=result.model,
        duration_s=transcript.duration_s,
        confidence=sum(known) / len(known) if known else None,
        segments=[_segment(segment, word_times=word_times) for segment in transcript.segments],
        timings=TimingsView(
            decode_s=timings.decode_s,
            queue_s=timings.queue_s,
            inference_s=timings.inference_s,
            total_s=timings.total_s,
        ),
        batch_size=result.batch_size,
        cached=result.cached,
        request_id=request_id,
    )
    if word_times:
        view["words"] = [_word(word) for word in transcript.words]
    return view


def _segment(segment: Segment, *, word_times: bool) -> SegmentView:
    view = SegmentView(text=segment.text, start_s=segment.start_s, end_s=segment.end_s, language=segment.language)
    if word_times:
        view["words"] = [_word(word) for word in segment.words]
    return view


def _word(word: Word) -> WordView:
    return WordView(text=word.text, start_s=word.start_s, end_s=word.end_s, confidence=word.confidence)
