"""What a live stream tells as it goes, and what is put into it. `at_s` is how much audio had been heard by then."""

from dataclasses import dataclass
from typing import Final as Constant
from typing import TypeAlias

from harken.core import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What is probably said after the committed text; replaces the one before."""

    text: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Words that follow those committed before; never taken back."""

    text: str
    at_s: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The speaker paused, or a flush was asked for (`rule` says which); every word before is committed."""

    rule: str
    silence_s: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The last event: all committed text, one line a segment, and the length of the audio."""

    text: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProblem:
    """A message the server could not use. The stream goes on."""

    code: str
    message: str
    hint: str = ""


StreamEvent: TypeAlias = Hypothesis | Committed | Endpoint | Final | StreamProblem


class Flush:
    """Among the pieces of audio: commit all that was heard so far, and go on."""


FLUSH: Constant = Flush()
