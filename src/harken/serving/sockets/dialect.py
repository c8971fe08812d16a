"""What a protocol is: messages in, things to do out; events in, messages out. No socket, no waiting."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harken.core import HarkenError, InputError
from harken.inference.streaming import StreamEvent
from harken.serving.contract import LiveOptions

Message = dict[str, Any]
"""What is sent, as JSON."""

_MOST_VALUES, _DEEPEST = 10_000, 16  # of one message; no protocol here comes near
_LARGEST = 1 << 63


class BadMessage(InputError):
    """A message that the protocol does not have; the stream goes on."""


@dataclass(frozen=True, slots=True)
class Open:
    """Begin a stream."""

    options: LiveOptions


@dataclass(frozen=True, slots=True)
class Audio:
    """More audio of the stream."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Commit all that was heard; nothing where no stream is open."""


@dataclass(frozen=True, slots=True)
class EndStream:
    """Finish the stream, tell its last events, and be ready to open another."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Finish the stream, tell its last events, and close the socket."""


@dataclass(frozen=True, slots=True)
class Say:
    """Answer at once."""

    message: Message


@dataclass(frozen=True, slots=True)
class Stop:
    """Close the socket because of an error."""

    error: HarkenError
    code: int


Action = Open | Audio | Flush | EndStream | Finish | Say | Stop


class Dialect(Protocol):
    """One client's side of a protocol, as a state machine."""

    def first_options(self) -> LiveOptions | None:
        """The stream to open before the handshake, so that its errors refuse it; None: `read` says when."""
        ...

    def greet(self) -> Sequence[Message]:
        """What is said first."""
        ...

    def read(self, message: str | bytes) -> Sequence[Action]:
        """What a message asks for. Raises BadMessage."""
        ...

    def opened(self, options: LiveOptions, model: str) -> Sequence[Message]:
        """A stream was opened by `read`."""
        ...

    def pushed(self, heard_s: float) -> Sequence[Message]:
        """The stream took audio; it has so many seconds now."""
        ...

    def told(self, event: StreamEvent) -> Sequence[Message]:
        """What the client is told of an event."""
        ...

    def ended(self, heard_s: float) -> Sequence[Message]:
        """What is said last, once the stream has told everything, or none was opened; `heard_s` of all its streams."""
        ...

    def refused(self, error: HarkenError) -> Sequence[Message]:
        """An error in the form of this protocol."""
        ...


def read_object(text: str) -> dict[str, Any]:
    """A message that is one JSON object, whose numbers fit 64 bits and whose text can be written again as UTF-8: then
    no answer that repeats some of it fails. Raises BadMessage."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BadMessage("The message is not JSON.", hint="Send one JSON object as text, audio as binary.") from err
    if not isinstance(data, dict):
        raise BadMessage(f"The message is a JSON {type(data).__name__}.", hint="Send an object.")
    _check_values(data)
    return data


def read_field(data: dict[str, Any], name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """A field of such an object, `default` where it is absent or null. Raises BadMessage for another kind of value."""
    value = data.get(name)
    if value is None:
        return default
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise BadMessage(f"{name} is {str(value)[:50]!r}.", hint=f"Use a value of type {wanted}.")
    return value


def _check_values(data: dict[str, Any]) -> None:
    level, left = [data], _MOST_VALUES
    for _ in range(_DEEPEST):
        left -= len(level)
        if left < 0:
            raise BadMessage(f"The message has more than {_MOST_VALUES} values.", hint="Send fewer.")
        for value in level:
            _check_plain(value)
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise BadMessage(f"The message is nested deeper than {_DEEPEST} levels.", hint="Send plain fields.")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_plain(value: Any) -> None:
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadMessage(
            "The message has half of a surrogate pair.", hint="Write text as UTF-8, or escape both halves."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise BadMessage(f"The message has the number {value}.", hint="Use finite numbers.")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise BadMessage("The message has a number of more than 64 bits.", hint="Use a smaller one.")
