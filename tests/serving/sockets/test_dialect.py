"""Whatever a client writes, the answer is the protocol's own error or something that can be sent."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harken.core import InputError
from harken.inference.streaming import Partial
from harken.serving.contract import LiveOptions
from harken.serving.sockets.deepgram import DeepgramDialect
from harken.serving.sockets.deepgram_query import ListenQuery, deepgram_error, read_query
from harken.serving.sockets.dialect import BadMessage, Dialect, Open, Say, Stop, read_object
from harken.serving.sockets.native import NativeDialect
from harken.serving.sockets.realtime import RealtimeDialect
from harken.serving.sockets.realtime_session import RealtimeSession
from harken.serving.sockets.vosk import VoskDialect

HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'{{"type": {HUGE}}}', "more than 64 bits"),
        (f'{{"a": {{"b": [-{HUGE}]}}}}', "more than 64 bits"),
        ('{"a": 1e400}', "the number inf"),
        ('{"a": NaN}', "the number nan"),
        (r'{"a": "\ud800"}', "half of a surrogate pair"),
        (r'{"\udfff": 1}', "half of a surrogate pair"),
        ('{"a": ' + "[" * 50 + "]" * 50 + "}", "nested deeper than 16"),
        ('{"a": ' + "[" * 50_000, "not JSON"),
        ('{"a": [' + "0," * 10_000 + "0]}", "more than 10000 values"),
        ("1" * 5_000, "not JSON"),
    ],
)
def test_what_no_answer_could_repeat_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadMessage, match=problem) as refused:
        read_object(text)
    assert len(str(refused.value)) < 200


def test_what_can_be_repeated_is_read() -> None:
    text = r'{"a": "\ud83d\ude00 \u00e9", "b": [9223372036854775807, -1.5, null, true]}'
    assert read_object(text) == {"a": "\U0001f600 \u00e9", "b": [2**63 - 1, -1.5, None, True]}


@dataclass
class Protocol:
    """What a client may write: `kinds` of messages, `names` of fields, `nests` of objects, `paths` to them."""

    begin: Callable[[], Dialect]
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    nests: tuple[str, ...] = ()
    paths: tuple[tuple[str, ...], ...] = ((),)


def deepgram(**query: Any) -> DeepgramDialect:
    listen = ListenQuery(stream=LiveOptions(), **query)
    return DeepgramDialect(listen, request_id="r", created=datetime(2026, 1, 1, tzinfo=UTC), model="m", model_id="i")


def realtime() -> RealtimeDialect:
    return RealtimeDialect(RealtimeSession(model="m"), session_id="sess_1", knows_model=lambda name: name == "m")


PROTOCOLS = {
    "native": Protocol(
        lambda: NativeDialect("s"),
        ("start", "keepalive", "flush", "finish"),
        ("model", "language", "encoding", "sample_rate", "channels", "endpoint_pause_s"),
    ),
    "vosk": Protocol(
        VoskDialect,
        (),
        ("eof", "reset", "model", "phrase_list", "sample_rate", "words", "max_alternatives"),
        ("config",),
        ((), ("config",)),
    ),
    "deepgram": Protocol(deepgram, ("KeepAlive", "Finalize", "CloseStream", "Configure"), ("features",)),
    "deepgram with a container": Protocol(lambda: deepgram(contained=True), ("Finalize", "CloseStream"), ()),
    "realtime": Protocol(
        realtime,
        ("session.update", "transcription_session.update", "input_audio_buffer.append", "input_audio_buffer.commit"),
        (
            "event_id", "model", "language", "languages", "prompt", "rate", "threshold", "silence_duration_ms",
            "prefix_padding_ms", "type", "input_audio_format", "keywords",
        ),
        ("session", "audio", "input", "format", "transcription", "turn_detection", "input_audio_transcription"),
        (
            (), ("session",), ("session", "audio", "input", "format"), ("session", "audio", "input", "transcription"),
            ("session", "audio", "input", "turn_detection"), ("session", "input_audio_transcription"),
        ),
    ),
}  # fmt: skip
# Written by hand where json would not: numbers beyond every type, halves of surrogate pairs.
ODD_VALUES = [
    "[]", "{}", "null", "true", "false", "-1", "0", "1", "1.5", "1e400", "NaN", "-Infinity", HUGE, '""', '"x"',
    "[[]]", '{"a":[]}', r'"\ud800"', r'["\udc00"]', '["en"]', '"m"', '"opus"', '"transcription"', '"server_vad"',
    "8000", "9" * 19, "[" * 30 + "]" * 30, '"AAAA"', '"' + "x" * 300 + '"', '"pcm16"', '"audio/pcmu"', "24000",
]  # fmt: skip
ODD = st.sampled_from(ODD_VALUES)


def _objects(protocol: Protocol) -> st.SearchStrategy[str]:
    """Objects of the right names and any values, nested as the protocol nests them."""

    def written(fields: dict[str, str]) -> str:
        return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"

    def deeper(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        plain = st.dictionaries(st.sampled_from(protocol.names or ("x",)), ODD, max_size=3)
        if not protocol.nests:
            return plain.map(written)
        nested = st.dictionaries(st.sampled_from(protocol.nests), values, max_size=2)
        return st.builds(lambda a, b: written(a | b), plain, nested)

    body = st.recursive(ODD, deeper, max_leaves=6)
    kinds = st.sampled_from([json.dumps(kind) for kind in protocol.kinds]) if protocol.kinds else ODD

    def message(kind: str, fields: dict[str, str]) -> str:
        return written({"type": kind, **fields} if protocol.kinds else fields)

    def chained(kind: str, path: tuple[str, ...], name: str, value: str) -> str:
        for each in (name, *reversed(path[1:])):
            value = written({each: value})
        return message(kind, {path[0]: value} if path else {name: value})

    names = st.sampled_from([*protocol.names, *protocol.nests, "audio"])
    plain_names = st.sampled_from(protocol.names or ("x",))
    chains = st.builds(chained, kinds, st.sampled_from(protocol.paths), plain_names, ODD)
    first = st.builds(message, kinds, st.dictionaries(names, body, max_size=3))
    return st.one_of(chains, first, st.builds(message, ODD, st.dictionaries(names, body, max_size=3)), body)


def _converse(dialect: Dialect, message: str | bytes) -> None:
    """What `Conversation` does with a message, but for the audio."""
    try:
        for action in dialect.read(message):
            said: list[Any] = []
            if isinstance(action, Open):
                said += dialect.opened(action.options, "m")
            elif isinstance(action, Say):
                said.append(action.message)
            elif isinstance(action, Stop):
                said += dialect.refused(action.error)
            _send(said)
    except InputError as error:
        _send(dialect.refused(error))


def _send(messages: Any) -> None:
    for message in messages:
        json.dumps(message, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_message_raises_anything_but_the_protocols_own_error(name: str) -> None:
    protocol = PROTOCOLS[name]

    @settings(derandomize=True, max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_objects(protocol) | st.binary(max_size=60) | st.text(max_size=5), min_size=1, max_size=4))
    def run(messages: list[str | bytes]) -> None:
        dialect = protocol.begin()
        _send(dialect.greet())
        for message in messages:
            _converse(dialect, message)
        _send(dialect.told(Partial(text="one", at_s=0.1)))
        _send(dialect.ended(0.1))

    run()


FORMATS = '{"type":"session.update","session":{"audio":{"input":%s}}}'
SHAPES = {
    "native": [f'{{"type":"start","{name}":@}}' for name in PROTOCOLS["native"].names],
    "vosk": [f'{{"config":{{"{name}":@}}}}' for name in PROTOCOLS["vosk"].names],
    "realtime": [
        *(FORMATS % f'{{"{part}":@}}' for part in ("format", "transcription", "turn_detection")),
        *(FORMATS % f'{{"format":{{"{name}":@}}}}' for name in ("type", "rate")),
        *(FORMATS % f'{{"transcription":{{"{name}":@}}}}' for name in ("model", "language", "languages", "prompt")),
        FORMATS % '{"turn_detection":{"threshold":@}}',
        '{"type":"session.update","session":{"audio":@}}',
        '{"type":"transcription_session.update","session":{"input_audio_format":@}}',
        '{"type":@,"event_id":"e"}',
        '{"type":"input_audio_buffer.append","audio":@}',
    ],
}


@pytest.mark.parametrize("name", SHAPES)
def test_no_value_of_a_field_raises_anything_but_the_protocols_own_error(name: str) -> None:
    for shape in SHAPES[name]:
        for value in ODD_VALUES:
            dialect = PROTOCOLS[name].begin()
            _converse(dialect, shape.replace("@", value))
            _send(dialect.told(Partial(text="one", at_s=0.1)))


PARAMETERS = (
    "model", "language", "encoding", "sample_rate", "channels", "interim_results", "endpointing", "utterance_end_ms",
    "vad_events", "multichannel", "tag", "unknown",
)  # fmt: skip
VALUES = st.sampled_from(
    ["", "true", "false", "-1", "0", "1", "16000", HUGE, "1e9", "nan", "mulaw", "linear16", "opus", "\u0663", "x" * 300]
)


@settings(derandomize=True, max_examples=300, deadline=None, database=None)
@given(st.lists(st.tuples(st.sampled_from(PARAMETERS), VALUES | st.text(max_size=8)), max_size=5))
def test_no_query_raises_anything_but_a_refusal(items: list[tuple[str, str]]) -> None:
    try:
        read_query(items, lambda name: name == "m")
    except InputError as error:
        _send([deepgram_error(400, error, "r")])
