"""The query of Deepgram's `/v1/listen`, and its errors."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from harken.core import HarkenError, InputError
from harken.serving.contract import DEFAULT_MODEL, Encoding, LiveOptions
from harken.serving.live.frames import OPUS_HZ, check_format

SHORTEST_PAUSE_S = 0.3  # shorter ones would cut words at the gaps between their sounds
_LEAST_UTTERANCE_END_MS = 1_000
_RATES_HZ = {"mulaw": 8_000, "alaw": 8_000, "opus": OPUS_HZ}  # where the query may leave the rate out
# Formatting that a model does by itself or not at all, and notes for Deepgram's own bookkeeping.
_HARMLESS = {
    "punctuate", "smart_format", "numerals", "dictation", "filler_words", "profanity_filter", "measurements",
    "paragraphs", "utterances", "tag", "extra", "mip_opt_out", "version", "tier", "no_delay",
}  # fmt: skip
_OFF = {"multichannel", "diarize", "detect_entities", "detect_language"}  # harmless while they are false
_DEEPGRAM_MODELS = re.compile(r"(nova|nova-\d|enhanced|base|whisper)(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenQuery:
    """A stream as Deepgram's clients ask for it. `stream` lacks its format where a WAV header tells it."""

    stream: LiveOptions
    contained: bool = False
    interim_results: bool = False
    vad_events: bool = False
    utterance_end_s: float | None = None
    endpointing: bool = True


def read_query(items: Iterable[tuple[str, str]], knows_model: Callable[[str], bool]) -> ListenQuery:
    """The query's parameters. `knows_model` tells of a name whether it is served: Deepgram's own names mean the default
    model where it is not, any other is left for the stream to refuse. Raises InputError."""
    query = _known(items)
    encoding = query.get("encoding")
    rate = _whole(query, "sample_rate", _RATES_HZ.get(encoding or "", 0))
    channels = _whole(query, "channels", 1)
    if encoding is not None:
        if rate == 0:
            raise InputError("sample_rate is missing.", hint=f"Send it with encoding={encoding}.")
        check_format(encoding, rate, channels)
    interim, end_ms = _flag(query, "interim_results"), _whole(query, "utterance_end_ms", 0)
    if end_ms and (end_ms < _LEAST_UTTERANCE_END_MS or not interim):
        raise InputError(
            f"utterance_end_ms is {end_ms}.",
            hint=f"Use {_LEAST_UTTERANCE_END_MS} or more, with interim_results=true.",
        )
    endpointing, pause_s = _endpointing(query.get("endpointing"))
    utterance_end_s = end_ms / 1000 if end_ms else None
    stream = LiveOptions(
        model=_model(query.get("model", DEFAULT_MODEL), knows_model),
        language=query.get("language"),
        encoding=cast(Encoding, encoding or "linear16"),
        sample_rate_hz=rate or LiveOptions().sample_rate_hz,
        channels=channels,
        endpoint_pause_s=pause_s if endpointing else utterance_end_s,
        endpointing=endpointing or utterance_end_s is not None,
    )
    return ListenQuery(
        stream=stream,
        contained=encoding is None,
        interim_results=interim,
        vad_events=_flag(query, "vad_events"),
        utterance_end_s=utterance_end_s,
        endpointing=endpointing,
    )


def deepgram_error(status: int, error: HarkenError, request_id: str) -> dict[str, Any]:
    """The body with which Deepgram refuses a handshake."""
    text = f"{error.message} {error.hint}".strip()
    return {"err_code": HTTPStatus(status).phrase, "err_msg": text, "request_id": request_id}


def _known(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters that mean something here. Raises InputError for one that would have to, and does not."""
    taken = {
        "model", "language", "encoding", "sample_rate", "channels", "interim_results", "endpointing",
        "utterance_end_ms", "vad_events",
    }  # fmt: skip
    query: dict[str, str] = {}
    for name, value in items:
        if name in _HARMLESS or (name in _OFF and value.lower() == "false"):
            continue
        if name not in taken:
            raise InputError(f"{name[:50]} is not a parameter of this server.", hint=f"It takes {', '.join(taken)}.")
        if name in query:
            raise InputError(f"{name} is there twice.", hint="Send it once.")
        query[name] = value
    return query


def _model(name: str, knows: Callable[[str], bool]) -> str:
    return DEFAULT_MODEL if not knows(name) and _DEEPGRAM_MODELS.fullmatch(name) else name


def _flag(query: dict[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in ("true", "false"):
        raise InputError(f"{name} is {value[:50]!r}.", hint="Use true or false.")
    return value == "true"


def _whole(query: dict[str, str], name: str, default: int) -> int:
    value = query.get(name)
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InputError(f"{name} is {value[:50]!r}.", hint="Use a whole number.")
    return int(value)


def _endpointing(value: str | None) -> tuple[bool, float | None]:
    """Whether pauses end utterances, and after how many seconds; None: the server's own."""
    if value is None or value.lower() == "true":
        return True, None
    if value.lower() == "false" or value == "0":
        return False, None
    if not re.fullmatch(r"[0-9]{1,5}", value):
        raise InputError(f"endpointing is {value[:50]!r}.", hint="Use milliseconds to 60000, or false.")
    return True, max(SHORTEST_PAUSE_S, int(value) / 1000)
