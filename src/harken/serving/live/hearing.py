"""One stream through a `StreamingASR`, with flushes on the way: sessions one after the other, their times joined."""

from collections.abc import Iterable
from dataclasses import replace

from harken.core import Waveform
from harken.inference.streaming import Committed, Endpoint, Final, Partial, StreamEvent, StreamingASR
from harken.inference.streaming.stream import with_line

FLUSHED = "flush"
"""The rule of an endpoint that a flush made."""


class Hearing:
    """A stream at `sample_rate_hz`. Not for several threads at once; other streams may share the `StreamingASR`."""

    def __init__(self, asr: StreamingASR, *, sample_rate_hz: int) -> None:
        """Raises InputError as `StreamingASR.session` does."""
        self._asr, self._rate = asr, sample_rate_hz
        self._session = asr.session(sample_rate_hz=sample_rate_hz)
        self._begin = self._heard = 0  # samples: where the session began, and how far it came
        self._shown = ""
        self._lines: tuple[str, ...] = ()

    @property
    def heard_s(self) -> float:
        """Seconds heard so far."""
        return self._heard / self._rate

    def hear(self, chunk: Waveform) -> list[StreamEvent]:
        """What `chunk` (samples,) float32 at the stream's rate brings. A partial is always the last, changed or not:
        its time says how far the stream was heard."""
        self._heard += len(chunk)
        events = self._told(self._session.push(chunk))
        if events and isinstance(events[-1], Partial):
            events.pop()
        return [*events, Partial(text=self._shown, at_s=self.heard_s)]

    def flush(self) -> list[StreamEvent]:
        """Everything heard is committed; an endpoint of rule `FLUSHED` is the last event."""
        events = self._end_session()
        self._session, self._begin = self._asr.session(sample_rate_hz=self._rate), self._heard
        return [*events, Endpoint(rule=FLUSHED, silence_s=self.heard_s, at_s=self.heard_s)]

    def finish(self) -> list[StreamEvent]:
        """The last events; `Final` has the text of the whole stream. The stream takes no more audio."""
        return [*self._end_session(), Final(text="\n".join(self._lines), at_s=self.heard_s)]

    def _end_session(self) -> list[StreamEvent]:
        return self._told(self._session.finish()) if self._heard > self._begin else []

    def _told(self, events: Iterable[StreamEvent]) -> list[StreamEvent]:
        """A session's events in the time of the stream, without its `Final`, whose text is kept."""
        begin_s, told = self._begin / self._rate, list[StreamEvent]()
        for event in events:
            if isinstance(event, Final):
                self._lines = with_line(self._lines, event.text)
                continue
            if isinstance(event, Partial):
                self._shown = event.text
            elif isinstance(event, Committed):
                self._shown = " ".join(self._shown.split()[len(event.words) :])  # as `Streamer` counts them
            told.append(shifted(event, begin_s))
        return told


def shifted(event: StreamEvent, by_s: float) -> StreamEvent:
    """The event `by_s` seconds later."""
    if by_s == 0:
        return event
    at_s = event.at_s + by_s
    if isinstance(event, Committed):
        words = tuple(replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in event.words)
        return replace(event, words=words, at_s=at_s)
    if isinstance(event, Endpoint):
        return replace(event, silence_s=event.silence_s + by_s, at_s=at_s)
    return replace(event, at_s=at_s)
