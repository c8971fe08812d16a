"""The items of a realtime transcription: which words belong to which, and what is told of each."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harken.core import Word
from harken.serving.sockets.dialect import Message

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass(slots=True, eq=False)
class Item:
    """One stretch of speech. `begin_s` is where its audio begins; one that is `cleared` is told to nobody."""

    id: str
    begin_s: float
    words: list[str] = field(default_factory=list)
    cleared: bool = False


class Items:
    """Words arrive in order, and so do the ends of items, so each word belongs to the first item that has not ended."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._new_id = new_id
        self._open: Item | None = None  # that words go to while no commit waits
        self._flushed: deque[Item] = deque()  # whose end comes with a flush
        self._previous: str | None = None
        self._begin_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether somebody speaks: an item has begun and was not committed."""
        return self._open is not None

    @property
    def awaits_flush(self) -> bool:
        """Whether what is heard now belongs to an item that was committed or cleared already."""
        return bool(self._flushed)

    def begin(self) -> str:
        """A new item that words go to."""
        self._open = Item(id=self._new_id("item"), begin_s=self._begin_s)
        return self._open.id

    def add(self, words: Iterable[Word]) -> list[Message]:
        """More words of the item that is first in line, which has begun."""
        item = self._flushed[0] if self._flushed else self._open
        if item is None or item.cleared:
            return []
        messages = []
        for word in words:
            delta = f" {word.text}" if item.words else word.text
            item.words.append(word.text)
            messages.append(self._told(f"{_TRANSCRIPTION}.delta", item_id=item.id, content_index=0, delta=delta))
        return messages

    def commit(self) -> list[Message]:
        """The client commits what was sent so far; the words that are still to come for it come before a flush."""
        if self._open is None:
            self.begin()
        item, self._open = self._open, None
        assert item is not None  # begun above
        self._flushed.append(item)
        return [self._committed(item)]

    def clear(self) -> None:
        """The client gives up what was sent and not committed."""
        item, self._open = self._open or Item(id="", begin_s=self._begin_s), None
        item.cleared = True
        self._flushed.append(item)

    def flushed(self, at_s: float) -> list[Message]:
        """A flush has come: the first item that waits for one is complete."""
        item, self._begin_s = self._flushed.popleft(), at_s
        return [] if item.cleared else [self._completed(item, at_s)]

    def paused(self, silence_s: float, at_s: float) -> list[Message]:
        """The speaker has paused: the open item is complete."""
        item, self._open = self._open, None
        if item is None:
            return []
        self._begin_s = silence_s
        stopped = self._told("input_audio_buffer.speech_stopped", audio_end_ms=_ms(at_s), item_id=item.id)
        return [stopped, self._committed(item), self._completed(item, silence_s)]

    def _committed(self, item: Item) -> Message:
        previous, self._previous = self._previous, item.id
        return self._told("input_audio_buffer.committed", previous_item_id=previous, item_id=item.id)

    def _completed(self, item: Item, end_s: float) -> Message:
        return self._told(
            f"{_TRANSCRIPTION}.completed",
            item_id=item.id,
            content_index=0,
            transcript=" ".join(item.words),
            usage={"type": "duration", "seconds": max(0.0, end_s - item.begin_s)},
        )

    def _told(self, kind: str, **fields: object) -> Message:
        return {"type": kind, "event_id": self._new_id("event"), **fields}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
