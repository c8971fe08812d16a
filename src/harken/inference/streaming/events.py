"""What a stream tells as it goes. Committed text is never taken back; tentative text is, freely.

`at_s` is how much audio had been heard when an event arose, in seconds; what the computing took comes on top.
"""

from dataclasses import asdict, dataclass
from typing import Any

from harken.core import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What is probably said after the committed text; replaces the partial before. Empty when nothing is open."""

    text: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Words that follow those committed before, with their times in the stream."""

    words: tuple[Word, ...]
    at_s: float

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The speaker has paused (`rule` names the setting that says so); every word before is committed.

    `silence_s` is where the silence begins.
    """

    rule: str
    silence_s: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The last event: all committed text of the stream, one line a segment, and its length in seconds."""

    text: str
    at_s: float


StreamEvent = Partial | Committed | Endpoint | Final


def event_json(event: StreamEvent) -> dict[str, Any]:
    """An event as plain data: its `type`, its fields, and the text of committed words."""
    fields = asdict(event)
    if isinstance(event, Committed):
        fields = {"text": event.text, **fields}
    return {"type": type(event).__name__.lower(), **fields}
