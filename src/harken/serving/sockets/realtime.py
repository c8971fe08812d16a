"""OpenAI's realtime API, transcription sessions only."""

import base64
import binascii
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from harken.core import HarkenError, InputError, Word
from harken.http.errors import code_of
from harken.inference.streaming import Committed, Endpoint, Final, Partial, StreamEvent
from harken.serving.contract import LiveOptions
from harken.serving.live.hearing import FLUSHED, shifted
from harken.serving.sockets.dialect import (
    Action,
    Audio,
    BadMessage,
    EndStream,
    Flush,
    Message,
    Open,
    Say,
    read_field,
    read_object,
)
from harken.serving.sockets.realtime_items import Items
from harken.serving.sockets.realtime_session import RealtimeSession, updated, updated_beta

_SHORTEST_COMMIT_S = 0.1


class RealtimeDialect:
    """Events in JSON both ways. With server_vad an item ends at each pause; without, `commit` ends it, and words that
    were heard before are told then."""

    def __init__(self, session: RealtimeSession, *, session_id: str, knows_model: Callable[[str], bool]) -> None:
        self._session, self._session_id, self._knows = session, session_id, knows_model
        self._counter = itertools.count(1)
        self._items = Items(self._new_id)
        self._open = False
        self._early: list[Word] = []  # heard and not committed, where the client commits
        self._before_s = self._heard_s = 0.0  # of earlier streams, and of all with this one
        self._committed_s = 0.0  # where the last commit was
        self._client_event: str | None = None

    def first_options(self) -> LiveOptions | None:
        return None

    def greet(self) -> Sequence[Message]:
        return [self._told("session.created", session=self._session.told(self._session_id))]

    def read(self, message: str | bytes) -> Sequence[Action]:
        self._client_event = None
        if isinstance(message, bytes):
            raise BadMessage("The message is binary.", hint="Send audio as input_audio_buffer.append, in base64.")
        data = read_object(message)
        self._client_event = read_field(data, "event_id", str)
        kind = data.get("type")
        if kind == "input_audio_buffer.append":
            audio = Audio(_audio(data.get("audio")))
            return [audio] if self._open else [Open(self._session.stream()), audio]
        if kind == "input_audio_buffer.commit":
            return self._commit()
        if kind == "input_audio_buffer.clear":
            return self._clear()
        if kind in ("session.update", "transcription_session.update"):
            return self._update(read_field(data, "session", dict, {}), beta=kind != "session.update")
        raise BadMessage(f"type is {str(kind)[:50]!r}.", hint="This server takes transcription events only.")

    def opened(self, options: LiveOptions, model: str) -> Sequence[Message]:
        self._open = True
        return []

    def pushed(self, heard_s: float) -> Sequence[Message]:
        self._heard_s = self._before_s + heard_s
        return []

    def told(self, event: StreamEvent) -> Sequence[Message]:
        event = shifted(event, self._before_s)
        if isinstance(event, Partial):
            return self._speaking(event.at_s) if event.text else []
        if isinstance(event, Committed):
            if self._session.turns is None and not self._items.awaits_flush:
                self._early += event.words
                return []
            return [*self._speaking(event.words[0].start_s), *self._items.add(event.words)]
        if isinstance(event, Endpoint) and event.rule == FLUSHED:
            return self._items.flushed(event.at_s)
        if isinstance(event, Endpoint):
            return self._paused(event.silence_s, event.at_s)
        return self._last(event)

    def ended(self, heard_s: float) -> Sequence[Message]:
        return []

    def refused(self, error: HarkenError) -> Sequence[Message]:
        ours = not isinstance(error, InputError)
        fields = {
            "type": "server_error" if ours else "invalid_request_error",
            "code": code_of(error),
            "message": f"{error.message} {error.hint}".strip(),
            "param": getattr(error, "param", None),
            "event_id": self._client_event,
        }
        return [self._told("error", error=fields)]

    def _commit(self) -> list[Action]:
        if self._heard_s - self._committed_s < _SHORTEST_COMMIT_S:
            error = BadMessage(
                f"The buffer has {self._heard_s - self._committed_s:.2f} s of audio.",
                hint=f"Commit {_SHORTEST_COMMIT_S:g} s or more; with server_vad the server commits.",
            )
            return [Say(message) for message in self.refused(error)]
        first = not self._items.awaits_flush
        messages = self._items.commit()
        if first:
            messages += self._items.add(self._early)
            self._early = []
        self._committed_s = self._heard_s
        return [*map(Say, messages), Flush()]

    def _clear(self) -> list[Action]:
        cleared = Say(self._told("input_audio_buffer.cleared"))
        if not self._open or self._heard_s <= self._committed_s:
            return [cleared]
        if not self._items.awaits_flush:
            self._early = []
        self._items.clear()
        self._committed_s = self._heard_s
        return [cleared, Flush()]

    def _update(self, data: dict[str, Any], *, beta: bool) -> list[Action]:
        before = self._session
        self._session = (updated_beta if beta else updated)(before, data, self._knows)
        if beta:
            told = self._told("transcription_session.updated", session=self._session.told_beta(self._session_id))
        else:
            told = self._told("session.updated", session=self._session.told(self._session_id))
        changed = self._session.stream() != before.stream()
        return [EndStream(), Say(told)] if self._open and changed else [Say(told)]

    def _speaking(self, at_s: float) -> list[Message]:
        """Somebody speaks, to a server that detects turns: an item begins if none is open."""
        if self._session.turns is None or self._items.is_open or self._items.awaits_flush:
            return []
        item_id = self._items.begin()
        return [self._told("input_audio_buffer.speech_started", audio_start_ms=round(at_s * 1000), item_id=item_id)]

    def _paused(self, silence_s: float, at_s: float) -> list[Message]:
        if self._items.awaits_flush:  # the item that waits for it goes on to its flush
            return []
        messages = self._items.paused(silence_s, at_s)
        if messages:
            self._committed_s = max(self._committed_s, silence_s)
        return messages

    def _last(self, event: Final) -> list[Message]:
        """The stream has ended: so has the turn."""
        self._open = False
        self._before_s = event.at_s
        return self._paused(event.at_s, event.at_s)

    def _told(self, kind: str, **fields: object) -> Message:
        return {"type": kind, "event_id": self._new_id("event"), **fields}

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{self._session_id.removeprefix('sess_')}_{next(self._counter)}"


def _audio(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as err:
        raise BadMessage("audio is not base64.", hint="Encode the bytes of the audio in base64.") from err
