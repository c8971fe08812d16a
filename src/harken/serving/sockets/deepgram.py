"""Deepgram's live protocol: results that are interim, final, and the last of an utterance.

Committed words are gathered into results of a few seconds, as Deepgram's are; interim results repeat what was gathered.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from harken.core import HarkenError, InputError, Word
from harken.http.errors import code_of
from harken.inference.streaming import Committed, Endpoint, Final, Partial, StreamEvent
from harken.serving.contract import LiveOptions
from harken.serving.live.frames import check_format
from harken.serving.live.hearing import FLUSHED
from harken.serving.sockets.deepgram_query import ListenQuery
from harken.serving.sockets.dialect import (
    Action,
    Audio,
    BadMessage,
    Finish,
    Flush,
    Message,
    Open,
    Say,
    Stop,
    read_object,
)
from harken.serving.sockets.wav_header import WavHeader

_LONGEST_RESULT_S = 5.0  # of words that are final and not told as such
_UNUSABLE_AUDIO = 1007


class DeepgramDialect:
    """One `/v1/listen`. `model_id` stands where Deepgram puts the UUID of a model."""

    def __init__(self, query: ListenQuery, *, request_id: str, created: datetime, model: str, model_id: str) -> None:
        self._query, self._request_id, self._created = query, request_id, created
        self._model, self._model_id = model, model_id
        self._hash = hashlib.sha256()
        self._header = WavHeader() if query.contained else None
        self._open = not query.contained
        self._channels = query.stream.channels
        self._held: list[Word] = []
        self._partial = ""
        self._from_s = 0.0  # where the next result begins
        self._speaking = False
        self._last_word_s: float | None = None
        self._end_due_s: float | None = None  # when the utterance is told to have ended

    def first_options(self) -> LiveOptions | None:
        return None if self._query.contained else self._query.stream

    def greet(self) -> Sequence[Message]:
        return []

    def read(self, message: str | bytes) -> Sequence[Action]:
        if isinstance(message, bytes):
            return self._read_audio(message)
        kind = read_object(message).get("type")
        if kind == "KeepAlive":
            return []
        if kind == "Finalize":
            return [Flush()]
        if kind == "CloseStream":
            return [Finish()]
        if kind == "Configure":
            return [Say(self._configure_failure())]
        raise BadMessage(f"type is {str(kind)[:50]!r}.", hint="Use KeepAlive, Finalize or CloseStream.")

    def opened(self, options: LiveOptions, model: str) -> Sequence[Message]:
        self._open = True
        return []

    def pushed(self, heard_s: float) -> Sequence[Message]:
        return []

    def told(self, event: StreamEvent) -> Sequence[Message]:
        if isinstance(event, Partial):
            messages = self._tentative(event)
        elif isinstance(event, Committed):
            messages = self._committed(event)
        elif isinstance(event, Endpoint):
            messages = self._endpoint(event)
        else:
            messages = self._final(event)
        return [*messages, *self._utterance_end(event.at_s)]

    def ended(self, heard_s: float) -> Sequence[Message]:
        return [
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": self._request_id,
                "sha256": self._hash.hexdigest(),
                "created": self._created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "duration": heard_s,
                "channels": self._channels,
                "models": [self._model_id],
                "model_info": {self._model_id: self._model_info()},
            }
        ]

    def refused(self, error: HarkenError) -> Sequence[Message]:
        variant = "SchemaError" if isinstance(error, BadMessage) else code_of(error)
        return [{"type": "Error", "variant": variant, "description": f"{error.message} {error.hint}".strip()}]

    def _read_audio(self, data: bytes) -> list[Action]:
        if not data:  # how older clients end a stream
            return [Finish()]
        self._hash.update(data)
        if self._header is None:
            return [Audio(data)]
        try:
            samples = self._header.push(data)
            if self._open:
                return [Audio(samples)]
            told = self._header.format
            if told is None:
                return []
            check_format(told.encoding, told.sample_rate_hz, told.channels)
        except InputError as error:
            return [Stop(error, _UNUSABLE_AUDIO)]
        self._channels = told.channels
        options = replace(
            self._query.stream,
            encoding=told.encoding,
            sample_rate_hz=told.sample_rate_hz,
            channels=told.channels,
        )
        return [Open(options), Audio(samples)]

    def _tentative(self, event: Partial) -> list[Message]:
        changed, self._partial = event.text != self._partial, event.text
        messages = self._begun(event.at_s) if event.text else []
        if changed and event.text and self._query.interim_results:
            words = " ".join([*(word.text for word in self._held), event.text])
            messages.append(self._result(words, self._held, event.at_s, is_final=False))
        return messages

    def _committed(self, event: Committed) -> list[Message]:
        messages = self._begun(event.words[0].start_s)
        self._held += event.words
        self._last_word_s = event.words[-1].end_s
        self._partial = " ".join(self._partial.split()[len(event.words) :])
        if self._held[-1].end_s - self._held[0].start_s > _LONGEST_RESULT_S:
            messages.append(self._gathered(event.words[-1].end_s))
        return messages

    def _endpoint(self, event: Endpoint) -> list[Message]:
        flushed, spoke, self._speaking, self._partial = event.rule == FLUSHED, self._speaking, False, ""
        until_s = max([event.silence_s, *(word.end_s for word in self._held[-1:])])
        messages: list[Message] = []
        if flushed:
            messages.append(self._gathered(until_s, speech_final=True, from_finalize=True))
        elif self._held or spoke:
            messages.append(self._gathered(until_s, speech_final=self._query.endpointing))
        if self._query.utterance_end_s is not None and self._last_word_s is not None:
            # The endpoint was noticed some time after its silence began: so long it has been silent for certain.
            silent_s = event.at_s - event.silence_s
            self._end_due_s = event.at_s + max(0.0, self._query.utterance_end_s - silent_s)
        return messages

    def _final(self, event: Final) -> list[Message]:
        return [self._gathered(event.at_s, speech_final=True)] if self._held else []

    def _begun(self, at_s: float) -> list[Message]:
        """Speech goes on, or begins."""
        self._end_due_s = None
        begins, self._speaking = not self._speaking, True
        if not (begins and self._query.vad_events):
            return []
        return [{"type": "SpeechStarted", "channel": [0], "timestamp": at_s}]

    def _utterance_end(self, at_s: float) -> list[Message]:
        if self._end_due_s is None or at_s < self._end_due_s:
            return []
        last_word_s, self._end_due_s, self._last_word_s = self._last_word_s, None, None
        return [{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": last_word_s}]

    def _gathered(self, until_s: float, *, speech_final: bool = False, from_finalize: bool = False) -> Message:
        """All words that are held, as a final result."""
        text = " ".join(word.text for word in self._held)
        told = self._result(
            text, self._held, until_s, is_final=True, speech_final=speech_final, from_finalize=from_finalize
        )
        self._held, self._from_s = [], until_s
        return told

    def _result(
        self,
        text: str,
        words: Sequence[Word],
        until_s: float,
        *,
        is_final: bool,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> Message:
        alternative = {"transcript": text, "confidence": _confidence(words), "words": [_word(word) for word in words]}
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": max(0.0, until_s - self._from_s),
            "start": self._from_s,
            "is_final": is_final,
            "speech_final": speech_final,
            "channel": {"alternatives": [alternative]},
            "metadata": {
                "request_id": self._request_id,
                "model_info": self._model_info(),
                "model_uuid": self._model_id,
            },
            "from_finalize": from_finalize,
        }

    def _model_info(self) -> dict[str, Any]:
        return {"name": self._model, "version": "", "arch": "harken"}

    def _configure_failure(self) -> Message:
        return {
            "type": "ConfigureFailure",
            "request_id": self._request_id,
            "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
            "description": "This server does not change a stream that runs.",
        }


def _word(word: Word) -> dict[str, Any]:
    """Deepgram always tells a confidence; 0 stands for a model that tells none."""
    return {
        "word": word.text,
        "start": word.start_s,
        "end": word.end_s,
        "confidence": word.confidence or 0.0,
        "punctuated_word": word.text,
    }


def _confidence(words: Sequence[Word]) -> float:
    return sum(word.confidence or 0.0 for word in words) / len(words) if words else 0.0
