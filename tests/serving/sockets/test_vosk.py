"""vosk's protocol, by a client written as its public test.py is: it sends a message and waits for its reply."""

import json

import pytest
from tests.serving.live.stream_models import heard
from tests.serving.sockets.socket_server import KEY
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from harken.core import Word
from harken.inference.streaming import Committed, Endpoint, Final, Partial, StreamingASR
from harken.serving.contract import LiveOptions
from harken.serving.sockets.dialect import Audio, BadMessage, Finish, Flush, Open, Stop
from harken.serving.sockets.vosk import VoskDialect

HEADERS = {"Authorization": f"Bearer {KEY}"}


def word(text: str, start_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=start_s + 0.2, confidence=0.5)


def listening(config: str = "{}") -> VoskDialect:
    dialect = VoskDialect()
    dialect.read(f'{{"config": {config}}}')
    dialect.read(b"\0\0")
    dialect.opened(LiveOptions(), "tiny")
    return dialect


def test_audio_opens_a_stream_as_the_configuration_says() -> None:
    dialect = VoskDialect()
    assert dialect.read('{ "config" : { "sample_rate" : 16000.0 } }') == []
    assert dialect.read(b"\1\2") == [Open(LiveOptions(sample_rate_hz=16_000)), Audio(b"\1\2")]
    assert VoskDialect().read(b"\1\2")[0] == Open(LiveOptions(sample_rate_hz=8_000))
    for eof in ('{"eof" : 1}', '{"eof":1}', '{ "eof": true }'):
        assert dialect.read(eof) == [Finish()]
    dialect.opened(LiveOptions(), "tiny")
    assert dialect.read('{"reset" : 1}') == [Flush()]
    with pytest.raises(BadMessage, match="cannot change"):
        dialect.read('{"config": {"sample_rate": 8000}}')


@pytest.mark.parametrize("message", ["nonsense", "{}", '{"config": 3}', '{"config": {"sample_rate": "x"}}'])
def test_messages_that_the_protocol_does_not_have(message: str) -> None:
    with pytest.raises(BadMessage):
        VoskDialect().read(message)


@pytest.mark.parametrize("config", ['{"model": "/etc/passwd"}', '{"phrase_list": ["one"]}'])
def test_what_would_change_the_model_is_refused(config: str) -> None:
    (action,) = VoskDialect().read(f'{{"config": {config}}}')
    assert isinstance(action, Stop)
    assert action.code == 1008


def test_a_message_a_sample_costs_one_text_for_all_its_replies() -> None:
    dialect = listening()
    for sample in range(1, 8_001):
        assert dialect.pushed(sample / 8_000) == []
    dialect.told(Committed(words=(word("one", 0.0),), at_s=0.1))
    dialect.told(Endpoint(rule="silence", silence_s=0.2, at_s=0.3))
    replies = dialect.told(Partial(text="two", at_s=1.0))
    assert len(replies) == 8_000
    assert replies[0]["text"] == "one"
    assert {id(reply) for reply in replies[1:]} == {id(replies[1])}
    assert replies[1] == {"partial": "two"}


def test_a_reply_waits_until_its_audio_was_heard() -> None:
    dialect = listening()
    assert dialect.pushed(0.2) == []
    assert dialect.pushed(0.4) == []
    assert dialect.told(Committed(words=(word("one", 0.1),), at_s=0.3)) == []
    assert dialect.told(Partial(text="two", at_s=0.2)) == [{"partial": "one two"}]
    assert dialect.told(Partial(text="two", at_s=0.4)) == [{"partial": "one two"}]
    assert dialect.pushed(0.4) == [{"partial": "one two"}]


def test_a_pause_makes_the_next_reply_a_result() -> None:
    dialect = listening()
    dialect.pushed(1.0)
    dialect.told(Committed(words=(word("one", 0.25),), at_s=1.0))
    assert dialect.told(Endpoint(rule="pause", silence_s=0.5, at_s=1.0)) == []
    told = {"conf": 0.5, "start": 0.25, "end": 0.45, "word": "one"}
    assert dialect.told(Partial(text="", at_s=1.0)) == [{"result": [told], "text": "one"}]
    assert dialect.pushed(1.0) == [{"partial": ""}]
    dialect.told(Committed(words=(word("two", 1.5),), at_s=2.0))
    assert [message["text"] for message in dialect.told(Final(text="one\ntwo", at_s=2.0))] == ["two"]


def test_a_reset_is_answered_by_what_was_said() -> None:
    dialect = listening('{"words": 0}')
    dialect.told(Committed(words=(word("one", 0.1),), at_s=0.3))
    assert dialect.told(Endpoint(rule="flush", silence_s=0.5, at_s=0.5)) == [{"text": "one"}]
    assert dialect.told(Final(text="one", at_s=0.5)) == [{"text": ""}]


def test_alternatives_have_their_own_shape() -> None:
    dialect = listening('{"max_alternatives": 3}')
    dialect.told(Committed(words=(word("one", 0.25),), at_s=0.3))
    (result,) = dialect.told(Final(text="one", at_s=0.5))
    told = {"start": 0.25, "end": 0.45, "word": "one"}
    assert result == {"alternatives": [{"confidence": 0.5, "text": "one", "result": [told]}]}


def lockstep(uri: str, raw: bytes, rate: int) -> list[dict]:
    """As vosk-server's websocket/test.py: 0.2 s at a time, a reply to each, and one to the end."""
    replies = []
    with connect(uri, additional_headers=HEADERS) as socket:
        socket.send(f'{{ "config" : {{ "sample_rate" : {rate} }} }}')
        size = int(rate * 0.2) * 2
        for first in range(0, len(raw), size):
            socket.send(raw[first : first + size])
            replies.append(json.loads(socket.recv(5)))
        socket.send('{"eof" : 1}')
        replies.append(json.loads(socket.recv(5)))
        with pytest.raises(ConnectionClosed):
            socket.recv(5)
    return replies


@pytest.mark.parametrize("path", ["/vosk", "/", ""])
def test_a_client_in_lockstep_gets_each_result_where_it_belongs(serve, pausing, raw: bytes, path: str) -> None:
    session = StreamingASR(pausing).session()
    expected = [*session.push(heard(raw)), *session.finish()]
    replies = lockstep(serve().ws + path, raw, 16_000)
    assert len(replies) == -(-len(raw) // 6_400) + 1
    results = [reply for reply in replies if "text" in reply]
    assert [result["text"] for result in results if result["text"]] == expected[-1].text.splitlines()
    ends = [event for event in expected if isinstance(event, Endpoint)]
    places = [place for place, reply in enumerate(replies[:-1]) if "text" in reply]
    assert places == [pytest.approx(int(end.at_s / 0.2), abs=1) for end in ends if end.rule != "silence"] != []
    words = [word for event in expected if isinstance(event, Committed) for word in event.words]
    told = [word for result in results for word in result.get("result", [])]
    assert [(w["word"], w["start"], w["end"], w["conf"]) for w in told] == [
        (w.text, w.start_s, w.end_s, w.confidence) for w in words
    ]
    assert any(reply.get("partial") for reply in replies)


def test_a_client_that_does_not_wait_loses_nothing(serve, pausing, raw: bytes) -> None:
    session = StreamingASR(pausing).session()
    expected = [*session.push(heard(raw)), *session.finish()][-1].text
    with connect(serve().ws + "/vosk", additional_headers=HEADERS) as socket:
        socket.send('{"config": {"sample_rate": 16000}}')
        for first in range(0, len(raw), 6_400):
            socket.send(raw[first : first + 6_400])
        socket.send('{"eof": 1}')
        replies = [json.loads(socket.recv(10)) for _ in range(-(-len(raw) // 6_400) + 1)]
    assert " ".join(reply["text"] for reply in replies if reply.get("text")) == expected.replace("\n", " ")


def test_an_end_without_audio(serve) -> None:
    with connect(serve().ws + "/vosk", additional_headers=HEADERS) as socket:
        socket.send('{"eof" : 1}')
        assert json.loads(socket.recv(5)) == {"text": ""}


def test_a_model_switch_closes_the_socket(serve) -> None:
    with connect(serve().ws + "/vosk", additional_headers=HEADERS) as socket:
        socket.send('{"config": {"model": "/tmp/other"}}')
        assert "config.model is not taken" in json.loads(socket.recv(5))["error"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert closed.value.rcvd.code == 1008


def test_a_reset_in_the_middle(serve, raw: bytes) -> None:
    with connect(serve().ws + "/vosk", additional_headers=HEADERS) as socket:
        socket.send('{"config": {"sample_rate": 16000}}')
        socket.send(raw[:48_000])
        assert "partial" in json.loads(socket.recv(5))
        socket.send('{"reset" : 1}')
        assert json.loads(socket.recv(5))["text"]
        socket.send('{"eof" : 1}')
        assert json.loads(socket.recv(5)) == {"text": ""}
