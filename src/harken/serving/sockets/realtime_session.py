"""The settings of OpenAI's realtime transcription sessions: today's shape and that of the beta."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harken.serving.contract import DEFAULT_MODEL, Encoding, LiveOptions
from harken.serving.sockets.dialect import BadMessage, Message, read_field

SHORTEST_PAUSE_S = 0.3  # as for Deepgram's clients
_FORMATS: dict[str, tuple[Encoding, int]] = {
    "audio/pcm": ("linear16", 24_000), "audio/pcmu": ("mulaw", 8_000), "audio/pcma": ("alaw", 8_000),
}  # fmt: skip
_BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_OPENAI_MODELS = re.compile(r"(whisper-1|gpt-[a-z0-9.-]*(realtime|transcribe|audio)[a-z0-9.-]*)")


class BadSetting(BadMessage):
    """A setting of a session that cannot be. `param` is its path."""

    def __init__(self, message: str, *, hint: str = "", param: str) -> None:
        super().__init__(message, hint=hint)
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDetection:
    """When the server commits by itself. The first two are said back; Harken's endpoints have their own."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeSession:
    """What a session is set to. Without `turns` the client commits; `called` is the client's own name of the model."""

    model: str = DEFAULT_MODEL
    called: str | None = None
    language: str | None = None
    format: str = "audio/pcm"
    turns: TurnDetection | None = TurnDetection()

    @property
    def bytes_per_s(self) -> int:
        encoding, rate = _FORMATS[self.format]
        return rate * (2 if encoding == "linear16" else 1)

    def stream(self) -> LiveOptions:
        """The stream that hears it."""
        encoding, rate = _FORMATS[self.format]
        pause_s = None if self.turns is None else max(SHORTEST_PAUSE_S, self.turns.silence_duration_ms / 1000)
        return LiveOptions(
            model=self.model,
            language=self.language,
            encoding=encoding,
            sample_rate_hz=rate,
            endpoint_pause_s=pause_s,
            endpointing=self.turns is not None,
        )

    def told(self, session_id: str) -> Message:
        """As `session.created` and `session.updated` say it."""
        encoding, rate = _FORMATS[self.format]
        format_ = {"type": self.format, **({"rate": rate} if encoding == "linear16" else {})}
        transcription = {"model": self.called or self.model, "language": self.language, "prompt": ""}
        heard = {"format": format_, "transcription": transcription, "noise_reduction": None}
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {"input": {**heard, "turn_detection": self._told_turns()}},
            "include": None,
        }

    def told_beta(self, session_id: str) -> Message:
        """As the beta's `transcription_session.updated` says it."""
        formats = {new: old for old, new in _BETA_FORMATS.items()}
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "input_audio_format": formats[self.format],
            "input_audio_transcription": {"model": self.called or self.model, "language": self.language, "prompt": ""},
            "turn_detection": self._told_turns(),
        }

    def _told_turns(self) -> Message | None:
        if self.turns is None:
            return None
        return {
            "type": "server_vad",
            "threshold": self.turns.threshold,
            "prefix_padding_ms": self.turns.prefix_padding_ms,
            "silence_duration_ms": self.turns.silence_duration_ms,
        }


def model_name(name: str, knows: Callable[[str], bool]) -> str:
    """The model that a client means: OpenAI's own names are the default model where they are not served."""
    return DEFAULT_MODEL if not knows(name) and _OPENAI_MODELS.fullmatch(name) else name


def updated(session: RealtimeSession, data: Mapping[str, Any], knows: Callable[[str], bool]) -> RealtimeSession:
    """After `session.update` with this `session`. What it leaves out stays. Raises BadSetting."""
    if data.get("type", "transcription") != "transcription":
        raise BadSetting(
            "There are transcription sessions only.", hint="Send type transcription.", param="session.type"
        )
    heard = _part(_part(data, "audio", "session.audio"), "input", "session.audio.input")
    where = "session.audio.input"
    if heard.get("format") is not None:
        told = _part(heard, "format", f"{where}.format")
        kind, rate = told.get("type", "audio/pcm"), told.get("rate")
        if not isinstance(kind, str) or kind not in _FORMATS or rate not in (None, _FORMATS[kind][1]):
            raise BadSetting(
                f"The format is {str(kind)[:50]} at {str(rate)[:20]} Hz.",
                hint="Use audio/pcm at 24000 Hz, audio/pcmu or audio/pcma.",
                param=f"{where}.format",
            )
        session = replace(session, format=kind)
    if heard.get("transcription") is not None:
        session = _transcribed(session, heard["transcription"], f"{where}.transcription", knows)
    if "turn_detection" in heard:
        session = replace(session, turns=_turns(heard["turn_detection"], f"{where}.turn_detection"))
    return session


def updated_beta(session: RealtimeSession, data: Mapping[str, Any], knows: Callable[[str], bool]) -> RealtimeSession:
    """After `transcription_session.update`. Raises BadSetting."""
    if "input_audio_format" in data:
        kind = _BETA_FORMATS.get(str(data["input_audio_format"]))
        if kind is None:
            raise BadSetting(
                f"input_audio_format is {str(data['input_audio_format'])[:50]!r}.",
                hint=f"Use {', '.join(_BETA_FORMATS)}.",
                param="session.input_audio_format",
            )
        session = replace(session, format=kind)
    if data.get("input_audio_transcription") is not None:
        where = "session.input_audio_transcription"
        session = _transcribed(session, data["input_audio_transcription"], where, knows)
    if "turn_detection" in data:
        session = replace(session, turns=_turns(data["turn_detection"], "session.turn_detection"))
    return session


def _transcribed(session: RealtimeSession, data: Any, where: str, knows: Callable[[str], bool]) -> RealtimeSession:
    if not isinstance(data, dict):
        raise BadSetting(f"{where} is no object.", hint='Use {"model": ...}.', param=where)
    for name in ("prompt", "keywords"):
        if data.get(name):
            raise BadSetting(f"{where}.{name} is not taken by streams.", hint="Leave it out.", param=f"{where}.{name}")
    model, language = read_field(data, "model", str), read_field(data, "language", str)
    languages = read_field(data, "languages", list, [])
    if len(languages) == 1 and isinstance(languages[0], str):
        language = language or languages[0]
    elif languages:
        raise BadSetting(
            f"{where}.languages has {len(languages)} entries.", hint="Name one language, or none.", param=where
        )
    if model is not None:
        served = model_name(model, knows)
        if not knows(served):
            hint = "GET /v1/models lists what is served."
            raise BadSetting(f"The model {model[:50]!r} is not served.", hint=hint, param=f"{where}.model")
        session = replace(session, model=served, called=model)
    return replace(session, language=language or session.language)


def _turns(data: Any, where: str) -> TurnDetection | None:
    if data is None:
        return None
    if not isinstance(data, dict) or data.get("type", "server_vad") != "server_vad":
        raise BadSetting(
            "Turns are detected by server_vad only.", hint="Use server_vad, or null to commit yourself.", param=where
        )
    plain = TurnDetection()
    silence_ms = read_field(data, "silence_duration_ms", int, plain.silence_duration_ms)
    if not 0 <= silence_ms <= 60_000:
        raise BadSetting(f"silence_duration_ms is {silence_ms}.", hint="Use 0 to 60000.", param=where)
    return TurnDetection(
        threshold=read_field(data, "threshold", (int, float), plain.threshold),
        prefix_padding_ms=read_field(data, "prefix_padding_ms", int, plain.prefix_padding_ms),
        silence_duration_ms=silence_ms,
    )


def _part(data: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    part = data.get(name)
    if part is not None and not isinstance(part, dict):
        raise BadSetting(f"{where} is no object.", param=where)
    return part or {}
