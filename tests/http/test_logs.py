"""Log lines: structured, on one line, with nothing forged in them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from structlog.contextvars import bound_contextvars

from harken.core import InputError
from harken.http.logs import LOGGERS, configure_logging, escaped


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_json_lines_hold_the_event_its_fields_and_the_request() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "json", stream=stream)
    with bound_contextvars(request_id="r1"):
        logging.getLogger("harken.x").info("done with %s", "it", extra={"status": 200, "user": "a\nb\u2028c"})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    event = json.loads(lines[0])
    assert event.pop("timestamp").endswith("Z")
    fields = {"status": 200, "user": "a\nb\u2028c", "request_id": "r1"}
    assert event == {"event": "done with it", "level": "info", "logger": "harken.x", **fields}


def test_text_lines_cannot_be_forged() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "text", stream=stream)
    forged = "x\n2026-01-01T00:00:00Z INFO harken.access request status=200\x1b[2J\u202e"
    logging.getLogger("harken.x").warning("name %s", forged, extra={"user": "a b\r\nc", "plain": "ok", "empty": ""})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "name x\\x0a2026-01-01T00:00:00Z INFO" in text
    assert "\\x1b[2J\\u202e" in text
    assert 'user="a b\\\\x0d\\\\x0ac" plain=ok empty=""' in text
    assert " WARNING harken.x " in text


def test_the_lines_of_a_traceback_are_indented() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        raise ValueError("one\n2026-01-01T00:00:00Z INFO harken forged")
    except ValueError:
        logging.getLogger("harken.x").exception("broke")
    first, *rest = stream.getvalue().rstrip("\n").split("\n")
    assert first.endswith("ERROR harken.x broke")
    assert len(rest) >= 4
    assert all(line.startswith("    ") for line in rest)


def test_log_level_wins_and_a_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setenv("LOG_LEVEL", "warning")
    configure_logging("DEBUG", stream=stream)
    logging.getLogger("harken.x").info("quiet")
    logging.getLogger("uvicorn.error").warning("loud")
    assert [line.split()[1:] for line in stream.getvalue().splitlines()] == [["WARNING", "uvicorn.error", "loud"]]
    monkeypatch.setenv("LOG_LEVEL", "chatty")
    with pytest.raises(InputError, match="'CHATTY'"):
        configure_logging()


def test_configuring_twice_writes_once() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(stream=second)
    logging.getLogger("harken.x").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


def test_escaped_leaves_letters_of_all_languages() -> None:
    assert escaped("Ўзбек тили, 日本語 é") == "Ўзбек тили, 日本語 é"
    assert escaped("a\x00\x7f\x85\u2029\ud800") == "a\\x00\\x7f\\x85\\u2029\\ud800"


def test_uvicorn_is_not_repeated_in_colours() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "json", stream=stream)
    logging.getLogger("uvicorn.error").error("Ended [%d]", 7, extra={"color_message": "Ended [\x1b[36m%d\x1b[0m]"})
    event = json.loads(stream.getvalue())
    assert event["event"] == "Ended [7]"
    assert set(event) == {"event", "level", "logger", "timestamp"}


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_the_query_of_a_socket_is_not_logged(level: str) -> None:
    stream = io.StringIO()
    configure_logging(level, stream=stream)
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "127.0.0.1:9", "/v1/listen?token=secret")
    logging.getLogger("uvicorn.error").debug("< authorization: Bearer secret")
    logging.getLogger("harken.x").info("ours")
    assert "secret" not in stream.getvalue()
    assert "ours" in stream.getvalue()
    configure_logging("ERROR", stream=stream)
    assert logging.getLogger("uvicorn.error").level == logging.ERROR


def test_a_refused_socket_is_no_error_of_uvicorn() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "text", stream=stream)
    logging.getLogger("uvicorn.error").error("ASGI callable returned without completing handshake.")
    assert stream.getvalue() == ""
    logging.getLogger("uvicorn.error").error("ASGI callable returned without completing response.")
    assert "without completing response" in stream.getvalue()
