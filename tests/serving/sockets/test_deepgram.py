"""Deepgram's live protocol: its own SDK, unmodified, against the server."""

import hashlib
import io
import json
import struct
import threading
import time
import wave
from datetime import UTC, datetime

import pytest
from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.types.listen_v1configure_failure import ListenV1ConfigureFailure
from deepgram.listen.v1.types.listen_v1error import ListenV1Error
from deepgram.listen.v1.types.listen_v1metadata import ListenV1Metadata
from deepgram.listen.v1.types.listen_v1results import ListenV1Results
from deepgram.listen.v1.types.listen_v1speech_started import ListenV1SpeechStarted
from deepgram.listen.v1.types.listen_v1utterance_end import ListenV1UtteranceEnd
from tests.serving.live.stream_models import heard
from tests.serving.sockets.socket_server import KEY
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harken.core import InputError, Word
from harken.inference.streaming import (
    Committed,
    Endpoint,
    EndpointConfig,
    Final,
    Partial,
    StreamingASR,
    StreamingConfig,
)
from harken.serving.contract import LiveOptions
from harken.serving.sockets.deepgram import DeepgramDialect
from harken.serving.sockets.deepgram_query import read_query
from harken.serving.sockets.dialect import Audio, BadMessage, Finish, Flush, Open, Stop
from harken.serving.sockets.wav_header import WavHeader

# The SDK imports names that today's websockets calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MODELS = {
    "Results": ListenV1Results, "Metadata": ListenV1Metadata, "UtteranceEnd": ListenV1UtteranceEnd,
    "SpeechStarted": ListenV1SpeechStarted, "Error": ListenV1Error, "ConfigureFailure": ListenV1ConfigureFailure,
}  # fmt: skip


def query(**parameters: str):
    plain = {"model": "nova-3", "encoding": "linear16", "sample_rate": "16000"}
    items = {**plain, **parameters}
    return read_query([(k, v) for k, v in items.items() if v], lambda name: name in ("tiny", "default"))


def listening(**parameters: str) -> DeepgramDialect:
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return DeepgramDialect(query(**parameters), request_id="r1", created=created, model="tiny", model_id="m1")


def told(dialect: DeepgramDialect, *events) -> list[dict]:
    messages = [message for event in events for message in dialect.told(event)]
    for message in messages:
        MODELS[message["type"]].model_validate(message, strict=True)  # exactly what the SDK declares
    return messages


def word(text: str, start_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=start_s + 0.25, confidence=0.5)


def text_of(message: dict) -> str:
    return message["channel"]["alternatives"][0]["transcript"]


def test_the_query_says_what_the_stream_is() -> None:
    found = query(
        language="uz", channels="2", encoding="mulaw", sample_rate="8000", endpointing="500", interim_results="true",
        utterance_end_ms="1000", vad_events="true", punctuate="true", smart_format="true", diarize="false",
    )  # fmt: skip
    assert found.stream == LiveOptions(
        language="uz", channels=2, encoding="mulaw", sample_rate_hz=8_000, endpoint_pause_s=0.5
    )
    assert (found.interim_results, found.vad_events, found.utterance_end_s) == (True, True, 1.0)
    assert query(model="tiny").stream.model == "tiny"
    assert query(model="other").stream.model == "other"  # which the server then refuses
    assert query(encoding="", sample_rate="").contained
    assert query(encoding="opus", sample_rate="").stream.sample_rate_hz == 48_000
    assert query(endpointing="10").stream.endpoint_pause_s == 0.3
    assert not query(endpointing="false").stream.endpointing
    assert query(endpointing="true").stream.endpoint_pause_s is None


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"sample_rate": ""}, "sample_rate is missing"),
        ({"sample_rate": "x"}, "sample_rate is 'x'"),
        ({"sample_rate": "1"}, "sample_rate is 1"),
        ({"encoding": "ogg-opus"}, "encoding is 'ogg-opus'"),
        ({"interim_results": "yes"}, "interim_results is 'yes'"),
        ({"utterance_end_ms": "500", "interim_results": "true"}, "utterance_end_ms is 500"),
        ({"utterance_end_ms": "1000"}, "with interim_results"),
        ({"endpointing": "soon"}, "endpointing is 'soon'"),
        ({"diarize": "true"}, "diarize is not a parameter"),
        ({"callback": "http://10.0.0.1/"}, "callback is not a parameter"),
        ({"keyterm": "one"}, "keyterm is not a parameter"),
    ],
)
def test_parameters_that_would_do_nothing_are_refused(parameters: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        query(**parameters)


def test_words_are_gathered_and_interim_results_repeat_them() -> None:
    dialect = listening(interim_results="true", vad_events="true")
    begun, interim = told(dialect, Partial(text="one two", at_s=0.5))
    assert begun == {"type": "SpeechStarted", "channel": [0], "timestamp": 0.5}
    assert (text_of(interim), interim["is_final"], interim["start"], interim["duration"]) == ("one two", False, 0, 0.5)
    assert told(dialect, Partial(text="one two", at_s=0.6)) == []
    assert told(dialect, Committed(words=(word("one", 0.0),), at_s=0.7)) == []
    (interim,) = told(dialect, Partial(text="three", at_s=0.8))
    assert text_of(interim) == "one three"
    told(dialect, Committed(words=(word("three", 0.5),), at_s=1.0))
    (final,) = told(dialect, Endpoint(rule="pause", silence_s=0.8, at_s=2.0))
    assert (text_of(final), final["is_final"], final["speech_final"], final["from_finalize"]) == (
        "one three", True, True, False,
    )  # fmt: skip
    assert (final["start"], final["duration"]) == (0.0, 0.8)
    assert final["channel"]["alternatives"][0]["words"][1] == {
        "word": "three", "start": 0.5, "end": 0.75, "confidence": 0.5, "punctuated_word": "three",
    }  # fmt: skip
    assert told(dialect, Endpoint(rule="silence", silence_s=2.0, at_s=5.0)) == []
    (final,) = told(dialect, Endpoint(rule="flush", silence_s=5.0, at_s=5.0))
    assert (text_of(final), final["from_finalize"]) == ("", True)


def test_long_speech_is_told_in_parts() -> None:
    dialect = listening()
    words = [word(str(second), float(second)) for second in range(8)]
    (part,) = [message for one in words for message in told(dialect, Committed(words=(one,), at_s=one.end_s))]
    assert (text_of(part), part["is_final"], part["speech_final"]) == ("0 1 2 3 4 5", True, False)
    (last,) = told(dialect, Final(text="", at_s=9.0))
    assert (text_of(last), last["start"], last["speech_final"]) == ("6 7", 5.25, True)


def test_an_utterance_ends_once_its_silence_is_long_enough() -> None:
    dialect = listening(interim_results="true", utterance_end_ms="1500")
    told(dialect, Committed(words=(word("one", 0.5),), at_s=1.0))
    assert len(told(dialect, Endpoint(rule="pause", silence_s=0.75, at_s=1.75))) == 1
    assert told(dialect, Partial(text="", at_s=2.0)) == []
    assert told(dialect, Partial(text="", at_s=2.25)) == [
        {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 0.75}
    ]
    assert told(dialect, Partial(text="", at_s=9.0)) == []
    told(dialect, Committed(words=(word("two", 9.0),), at_s=9.5))
    told(dialect, Endpoint(rule="pause", silence_s=9.25, at_s=9.75))
    told(dialect, Partial(text="three", at_s=9.8))  # speech goes on
    assert [m["type"] for m in told(dialect, Partial(text="three", at_s=12.0))] == []


def test_messages() -> None:
    dialect = listening()
    assert dialect.read(b"\1\2") == [Audio(b"\1\2")]
    assert dialect.read('{"type": "KeepAlive"}') == []
    assert dialect.read('{"type": "Finalize"}') == [Flush()]
    assert dialect.read('{"type": "CloseStream"}') == [Finish()]
    assert dialect.read(b"") == [Finish()]
    (failure,) = dialect.read('{"type": "Configure", "features": {}}')
    ListenV1ConfigureFailure.model_validate(failure.message)
    with pytest.raises(BadMessage) as bad:
        dialect.read('{"type": "Stop"}')
    (error,) = dialect.refused(bad.value)
    assert ListenV1Error.model_validate(error).variant == "SchemaError"
    (metadata,) = dialect.ended(1.5)
    assert metadata["sha256"] == hashlib.sha256(b"\1\2").hexdigest()
    assert (metadata["duration"], metadata["created"], metadata["channels"], metadata["models"]) == (
        1.5, "2026-01-02T03:04:05.000Z", 1, ["m1"],
    )  # fmt: skip
    ListenV1Metadata.model_validate(metadata, strict=True)


def wav(raw: bytes, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(raw)
    return file.getvalue()


@pytest.mark.parametrize("cut", [1, 7, 44, 1_000])
def test_a_wav_header_in_pieces(cut: int) -> None:
    samples = bytes(range(200)) * 2
    file = wav(samples) + b"LIST\4\0\0\0abcd"
    header = WavHeader()
    found = b"".join(header.push(file[first : first + cut]) for first in range(0, len(file), cut))
    assert found == samples
    assert header.format is not None
    assert (header.format.encoding, header.format.sample_rate_hz, header.format.channels) == ("linear16", 16_000, 1)
    endless = wav(samples).replace(struct.pack("<I", len(samples)), b"\xff\xff\xff\xff")
    assert WavHeader().push(endless + b"more") == samples + b"more"


@pytest.mark.parametrize("data", [b"OggS" + bytes(100), b"fLaC", b"RIFF\0\0\0\0AVI ", b"ffconcat version 1.0\n"])
def test_other_containers_are_refused(data: bytes) -> None:
    (action,) = listening(encoding="", sample_rate="").read(data)
    assert isinstance(action, Stop)
    assert action.code == 1007


def test_a_header_without_end_or_with_odd_samples_is_refused() -> None:
    header = WavHeader()
    header.push(b"RIFF\0\0\0\0WAVE")
    with pytest.raises(InputError, match="no samples within"):
        header.push(b"junk\0\0\0\0" * 10_000)
    with pytest.raises(InputError, match="8-bit samples"):
        WavHeader().push(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8))
    (action,) = listening(encoding="", sample_rate="").read(wav(b"\0\0", rate=1))
    assert "sample_rate is 1" in str(action.error)


def environment(server) -> DeepgramClientEnvironment:
    return DeepgramClientEnvironment(base="http://127.0.0.1:9", production=server.ws, agent="", agent_rest="")


def expected_text(recognizer, raw: bytes, pause_s: float = 1.2) -> str:
    config = StreamingConfig(endpoint=EndpointConfig(pause_s=pause_s))
    session = StreamingASR(recognizer, config=config).session()
    return [*session.push(heard(raw)), *session.finish()][-1].text


def listen(server, pieces: list[bytes], end: str = "close", **options) -> list:
    """What the official SDK hears, used as its examples do."""
    client = DeepgramClient(api_key=KEY, environment=environment(server))
    messages, closed = [], threading.Event()
    with client.listen.v1.connect(**options) as connection:
        connection.on(EventType.MESSAGE, messages.append)
        connection.on(EventType.CLOSE, lambda _: closed.set())
        listening_ = threading.Thread(target=connection.start_listening)
        listening_.start()
        connection.send_keep_alive()
        for piece in pieces:
            connection.send_media(piece)
        if end == "finalize":
            connection.send_finalize()
            while not any(getattr(message, "from_finalize", False) for message in messages):
                time.sleep(0.01)
        connection.send_close_stream()
        assert closed.wait(20)
        listening_.join()
    return messages


def finals(messages: list) -> list[str]:
    results = [message for message in messages if isinstance(message, ListenV1Results) and message.is_final]
    return [text for result in results if (text := result.channel.alternatives[0].transcript)]


def test_the_official_sdk_gets_the_transcript(serve, pausing, raw: bytes) -> None:
    server = serve()
    pieces = [raw[first : first + 8_000] for first in range(0, len(raw), 8_000)]
    messages = listen(
        server, pieces, model="nova-3", encoding="linear16", sample_rate=16_000, interim_results=True,
        endpointing=500, utterance_end_ms=1_000, vad_events=True, smart_format=True,
    )  # fmt: skip
    expected = expected_text(pausing, raw, pause_s=0.5)
    assert " ".join(finals(messages)) == expected.replace("\n", " ")
    assert {type(message) for message in messages} == {
        ListenV1Results, ListenV1UtteranceEnd, ListenV1SpeechStarted, ListenV1Metadata,
    }  # fmt: skip
    metadata = messages[-1]
    assert isinstance(metadata, ListenV1Metadata)
    assert (metadata.duration, metadata.sha256) == (len(raw) / 32_000, hashlib.sha256(raw).hexdigest())
    interim = [m for m in messages if isinstance(m, ListenV1Results) and not m.is_final]
    assert interim
    assert {m.metadata.model_info.name for m in interim} == {"tiny"}
    (row,) = server.rows(1)
    assert (row.route, row.audio_s, row.text) == ("/v1/listen", len(raw) / 32_000, expected)
    assert metadata.request_id == row.request_id


def test_finalize_answers_with_what_is_open(serve, raw: bytes) -> None:
    messages = listen(serve(), [raw[:48_000]], end="finalize", model="tiny", encoding="linear16", sample_rate=16_000)
    flushed = [m for m in messages if isinstance(m, ListenV1Results) and m.from_finalize]
    assert [m.is_final for m in flushed] == [True]
    assert flushed[0].channel.alternatives[0].transcript


def test_a_whole_wav_file_at_once(serve, pausing, raw: bytes) -> None:
    messages = listen(serve(), [wav(raw)], model="nova-3")
    assert " ".join(finals(messages)) == expected_text(pausing, raw).replace("\n", " ")


def test_the_asynchronous_sdk(serve, pausing, raw: bytes) -> None:
    import asyncio

    server = serve()

    async def run() -> list:
        client = AsyncDeepgramClient(api_key=KEY, environment=environment(server))
        async with client.listen.v1.connect(model="tiny", encoding="linear16", sample_rate=16_000) as connection:
            await connection.send_media(raw)
            await connection.send_close_stream()
            return [message async for message in connection]

    assert " ".join(finals(asyncio.run(run()))) == expected_text(pausing, raw).replace("\n", " ")


def test_a_handshake_that_is_refused_says_why_as_deepgram_does(serve) -> None:
    server = serve()

    def refused(path: str, **headers: str) -> tuple[int, dict]:
        with pytest.raises(InvalidStatus) as error:
            connect(server.ws + path, additional_headers=headers).__enter__()
        return error.value.response.status_code, json.loads(error.value.response.body)

    token = {"Authorization": f"Token {KEY}"}
    status, body = refused("/v1/listen?encoding=mp3", **token)
    assert (status, body["err_code"], set(body)) == (400, "Bad Request", {"err_code", "err_msg", "request_id"})
    assert refused("/v1/listen?model=other", **token)[0] == 404
    assert refused("/v1/listen", Authorization="Token wrong")[0] == 401
    client = DeepgramClient(api_key="wrong", environment=environment(server))
    # The SDK turns the refusal into its own error where it knows the exception of the websockets installed.
    with pytest.raises((ApiError, InvalidStatus), match=r"401|invalid credentials"):
        client.listen.v1.connect(model="nova-3").__enter__()


def test_a_browser_sends_its_key_as_a_subprotocol(serve) -> None:
    server = serve()
    url = f"{server.ws}/v1/listen?encoding=linear16&sample_rate=16000"
    with connect(url, subprotocols=["token", KEY]) as socket:
        assert socket.subprotocol == "token"
        socket.send('{"type": "CloseStream"}')
        assert json.loads(socket.recv(5))["type"] == "Metadata"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert closed.value.rcvd.code == 1000


def test_a_container_that_is_no_wav_closes_the_socket(serve) -> None:
    url = f"{serve().ws}/v1/listen"
    with connect(url, additional_headers={"Authorization": f"Token {KEY}"}) as socket:
        socket.send(b"OggS" + bytes(1_000))
        assert "not a WAV file" in json.loads(socket.recv(5))["description"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert closed.value.rcvd.code == 1007


def test_audio_opens_a_contained_stream_with_its_format() -> None:
    dialect = listening(encoding="", sample_rate="")
    opening, audio = dialect.read(wav(b"\1\2", rate=8_000))
    assert opening == Open(LiveOptions(sample_rate_hz=8_000))
    assert audio == Audio(b"\1\2")
