"""Logs: one structured line per event, as text or JSON, that nobody outside can forge lines in."""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from harken.core import InputError

_UVICORN = "uvicorn.error"
LOGGERS = ("harken", _UVICORN)
# uvicorn says so of every WebSocket that was refused with an answer, which is no error.
_NO_ERROR = (_UVICORN, "ASGI callable returned without completing handshake.")
# Control characters, line and paragraph separators, and the marks that reorder text on a screen.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def configure_logging(
    level: str = "INFO", format: Literal["text", "json"] = "text", *, stream: TextIO | None = None
) -> None:
    """Write what `harken` and the server log to `stream` (stderr). LOG_LEVEL, where it is set, wins over `level`.

    Calling it again replaces what it did before. Raises InputError for a level that does not exist.
    """
    name = os.environ.get("LOG_LEVEL", level).upper()
    if name not in logging.getLevelNamesMapping():
        raise InputError(f"The log level is {name!r}.", hint="Use DEBUG, INFO, WARNING or ERROR.")
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(log_formatter(format))
    handler.addFilter(lambda record: (record.name, record.msg) != _NO_ERROR)
    for logger in map(logging.getLogger, LOGGERS):
        logger.handlers = [kept for kept in logger.handlers if not isinstance(kept, _Handler)]
        logger.addHandler(handler)
        logger.setLevel(name)
        logger.propagate = False  # the root's handler would write the same lines again, unescaped
    # Below a warning uvicorn tells the query of every WebSocket, and its headers with DEBUG; the rest our lines say.
    uvicorn = logging.getLogger(_UVICORN)
    uvicorn.setLevel(max(logging.WARNING, uvicorn.level))


class _Handler(logging.StreamHandler[TextIO]):
    """Known by its type, so that the next call finds the last one's."""


def log_formatter(format: Literal["text", "json"]) -> logging.Formatter:
    """A formatter of standard log records: their `extra` values and the request's context become fields."""
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _without_colours,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: Processor = _as_json if format == "json" else _as_text
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=first, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
    )


def escaped(text: str) -> str:
    """`text` on one line: what could start a new one, or hide or reorder it, as \\xNN or \\uNNNN."""
    return _UNSAFE.sub(lambda found: _code(ord(found.group())), text)


def _without_colours(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Drops the message that uvicorn sends a second time, for terminals."""
    event.pop("color_message", None)
    return event


def _code(point: int) -> str:
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"


def _as_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return json.dumps(event, default=str)  # ASCII: every control character is escaped


def _as_text(_logger: WrappedLogger, _name: str, event: MutableMapping[str, Any]) -> str:
    head = [str(event.pop(key, "")) for key in ("timestamp", "level", "logger", "event")]
    trace = event.pop("exception", None)
    line = " ".join([head[0], head[1].upper(), *map(escaped, head[2:]), *_fields(event)])
    if not trace:
        return line
    # The message of an exception may come from outside: no line of a traceback can look like a line of the log.
    return "\n".join([line, *(f"    {escaped(part)}" for part in re.split(r"\r\n|\n", str(trace)))])


def _fields(event: Mapping[str, Any]) -> list[str]:
    return [f"{escaped(str(key))}={_value(value)}" for key, value in event.items()]


def _value(value: object) -> str:
    text = escaped(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or re.search(r'[\s="]', text) else text
