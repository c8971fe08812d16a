"""OpenAI's realtime transcription: its own SDK, unmodified, against the server."""

import asyncio
import base64
import json
from contextlib import suppress

import numpy as np
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.beta.realtime.transcription_session_updated_event import TranscriptionSessionUpdatedEvent
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from tests.serving.sockets.socket_server import KEY
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harken.audio.resample import resample
from harken.core import Word
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
from harken.serving.live.frames import FrameDecoder
from harken.serving.sockets.dialect import Audio, BadMessage, EndStream, Flush, Open, Say
from harken.serving.sockets.realtime import RealtimeDialect
from harken.serving.sockets.realtime_session import BadSetting, RealtimeSession, TurnDetection

EVENTS: TypeAdapter = TypeAdapter(RealtimeServerEvent)
# The SDK connects in a way that today's websockets calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
PREFIX = "conversation.item.input_audio_transcription"


@pytest.fixture(scope="module")
def raw_24k(raw: bytes) -> bytes:
    """linear16 at 24 kHz."""
    wide = resample(np.frombuffer(raw, "<i2").astype(np.float32) / 32_768, from_hz=16_000, to_hz=24_000)
    return np.rint(np.clip(wide, -1, 1) * 32_767).astype("<i2").tobytes()


def dialect_of(turns: TurnDetection | None = TurnDetection(), **fields) -> RealtimeDialect:  # noqa: B008  frozen
    session = RealtimeSession(model="tiny", turns=turns, **fields)
    return RealtimeDialect(session, session_id="sess_1", knows_model=lambda name: name in ("tiny", "default"))


def told(dialect: RealtimeDialect, *events) -> list[dict]:
    messages = [message for event in events for message in dialect.told(event)]
    for message in messages:
        EVENTS.validate_python(message)
    return messages


def send(dialect: RealtimeDialect, kind: str, **fields) -> list:
    actions = list(dialect.read(json.dumps({"type": kind, **fields})))
    for action in actions:
        if isinstance(action, Say) and not action.message["type"].startswith("transcription_session"):
            EVENTS.validate_python(action.message)
    return actions


def audio(seconds: float) -> str:
    return base64.b64encode(bytes(int(48_000 * seconds))).decode()


def append(dialect: RealtimeDialect, heard_s: float) -> list:
    actions = send(dialect, "input_audio_buffer.append", audio=audio(0.01))
    if isinstance(actions[0], Open):
        dialect.opened(actions[0].options, "tiny")
    dialect.pushed(heard_s)
    return actions


def word(text: str, start_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=start_s + 0.2)


def kinds(messages: list) -> list[str]:
    return [message["type"].removeprefix("input_audio_buffer.").removeprefix(f"{PREFIX}.") for message in messages]


def said(actions: list) -> list[dict]:
    return [action.message for action in actions if isinstance(action, Say)]


def test_a_session_begins_with_its_settings() -> None:
    (created,) = dialect_of().greet()
    event = EVENTS.validate_python(created)
    assert event.session.audio.input.transcription.model == "tiny"
    assert (created["session"]["type"], created["session"]["audio"]["input"]["turn_detection"]) == (
        "transcription",
        {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500},
    )


def test_an_update_changes_what_it_names() -> None:
    dialect = dialect_of()
    heard = {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1", "language": "uz"}}
    (updated,) = said(send(dialect, "session.update", session={"type": "transcription", "audio": {"input": heard}}))
    assert updated["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert updated["session"]["audio"]["input"]["transcription"]["model"] == "whisper-1"  # as it was called
    send(dialect, "session.update", session={"type": "transcription", "audio": {"input": {"turn_detection": None}}})
    opening, _ = append(dialect, 0.1)
    assert opening == Open(
        LiveOptions(model="default", language="uz", encoding="mulaw", sample_rate_hz=8_000, endpointing=False)
    )


def test_the_beta_shape() -> None:
    dialect = dialect_of()
    session = {
        "input_audio_format": "g711_alaw", "input_audio_transcription": {"model": "gpt-4o-transcribe", "prompt": ""},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 700}, "input_audio_noise_reduction": None,
    }  # fmt: skip
    (updated,) = said(send(dialect, "transcription_session.update", session=session))
    assert updated["type"] == "transcription_session.updated"
    # The SDK's type requires the client secret that its own text says is absent on a WebSocket.
    complete = {**updated["session"], "client_secret": {"expires_at": 0, "value": ""}}
    event = TranscriptionSessionUpdatedEvent.model_validate({**updated, "session": complete}, strict=True)
    assert (event.session.input_audio_format, event.session.turn_detection.silence_duration_ms) == ("g711_alaw", 700)
    opening, _ = append(dialect, 0.1)
    assert (opening.options.encoding, opening.options.endpoint_pause_s) == ("alaw", 0.7)


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({"audio": {"input": {"format": {"type": "audio/mp3"}}}}, "session.audio.input.format"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}, "session.audio.input.format"),
        ({"audio": {"input": {"transcription": {"model": "other"}}}}, "session.audio.input.transcription.model"),
        ({"audio": {"input": {"transcription": {"prompt": "x"}}}}, "session.audio.input.transcription.prompt"),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, "session.audio.input.turn_detection"),
        ({"audio": []}, "session.audio"),
    ],
)
def test_settings_that_cannot_be(session: dict, param: str) -> None:
    dialect = dialect_of()
    with pytest.raises(BadSetting) as bad:
        send(dialect, "session.update", session=session, event_id="e7")
    (error,) = dialect.refused(bad.value)
    EVENTS.validate_python(error)
    assert (error["error"]["param"], error["error"]["event_id"]) == (param, "e7")
    assert error["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "message", [b"\0\0", "x", '{"type": "response.create"}', '{"type": "input_audio_buffer.append", "audio": "%%"}']
)
def test_messages_that_a_transcription_does_not_have(message) -> None:
    with pytest.raises(BadMessage):
        dialect_of().read(message)


def test_a_pause_ends_an_item() -> None:
    dialect = dialect_of()
    assert append(dialect, 1.0)[1] == Audio(bytes(480))
    (started,) = told(dialect, Partial(text="one", at_s=0.5), Partial(text="one", at_s=0.6))
    assert (started["type"], started["audio_start_ms"]) == ("input_audio_buffer.speech_started", 500)
    first, second = told(dialect, Committed(words=(word("one", 0.25), word("two", 0.5)), at_s=1.0))
    assert (first["delta"], second["delta"]) == ("one", " two")
    stopped, committed, completed = told(dialect, Endpoint(rule="pause", silence_s=0.75, at_s=1.25))
    assert {m["item_id"] for m in (started, first, second, stopped, committed, completed)} == {started["item_id"]}
    assert (stopped["audio_end_ms"], committed["previous_item_id"]) == (1250, None)
    assert (completed["transcript"], completed["usage"]) == ("one two", {"type": "duration", "seconds": 0.75})
    assert told(dialect, Endpoint(rule="silence", silence_s=1.0, at_s=4.0)) == []
    again = told(dialect, Committed(words=(word("three", 5.0),), at_s=5.5), Final(text="", at_s=6.0))
    assert kinds(again) == ["speech_started", "delta", "speech_stopped", "committed", "completed"]
    assert again[3]["previous_item_id"] == started["item_id"]


def test_without_turn_detection_a_commit_ends_an_item() -> None:
    dialect = dialect_of(turns=None)
    (refused,) = said(send(dialect, "input_audio_buffer.commit"))
    assert refused["type"] == "error"
    append(dialect, 1.0)
    assert told(dialect, Partial(text="one", at_s=0.5), Committed(words=(word("one", 0.2),), at_s=0.8)) == []
    *actions, flush = send(dialect, "input_audio_buffer.commit")
    assert flush == Flush()
    assert kinds(said(actions)) == ["committed", "delta"]
    append(dialect, 1.5)
    assert kinds(told(dialect, Committed(words=(word("two", 0.9),), at_s=1.0))) == ["delta"]
    (completed,) = told(dialect, Endpoint(rule="flush", silence_s=1.0, at_s=1.0))
    assert (completed["transcript"], completed["item_id"]) == ("one two", said(actions)[0]["item_id"])
    assert told(dialect, Committed(words=(word("three", 1.2),), at_s=1.4)) == []
    assert said(send(dialect, "input_audio_buffer.commit"))[1]["delta"] == "three"


def test_what_is_cleared_is_told_to_nobody() -> None:
    dialect = dialect_of(turns=None)
    assert kinds(said(send(dialect, "input_audio_buffer.clear"))) == ["cleared"]
    append(dialect, 1.0)
    told(dialect, Committed(words=(word("one", 0.2),), at_s=0.5))
    cleared, flush = send(dialect, "input_audio_buffer.clear")
    assert (cleared.message["type"], flush) == ("input_audio_buffer.cleared", Flush())
    append(dialect, 2.0)
    commit = said(send(dialect, "input_audio_buffer.commit"))
    assert kinds(commit) == ["committed"]
    assert told(dialect, Committed(words=(word("two", 0.9),), at_s=1.0)) == []
    assert told(dialect, Endpoint(rule="flush", silence_s=1.0, at_s=1.0)) == []
    told(dialect, Committed(words=(word("three", 1.2),), at_s=1.5))
    assert told(dialect, Endpoint(rule="flush", silence_s=2.0, at_s=2.0))[0]["transcript"] == "three"


def test_a_changed_format_begins_another_stream_whose_times_go_on() -> None:
    dialect = dialect_of()
    append(dialect, 1.0)
    heard = {"format": {"type": "audio/pcmu"}}
    actions = send(dialect, "session.update", session={"type": "transcription", "audio": {"input": heard}})
    assert isinstance(actions[0], EndStream)
    told(dialect, Final(text="", at_s=1.0))
    opening, _ = append(dialect, 0.5)
    assert opening.options.encoding == "mulaw"
    started, _ = told(dialect, Committed(words=(word("one", 0.25),), at_s=0.5))
    assert started["audio_start_ms"] == 1250


def expected_lines(recognizer, raw_24k: bytes, pause_s: float | None) -> list[str]:
    endpoint = EndpointConfig(pause_s=pause_s) if pause_s else EndpointConfig(
        pause_s=None, silence_s=None, longest_s=None
    )  # fmt: skip
    asr = StreamingASR(recognizer, config=StreamingConfig(endpoint=endpoint))
    session = asr.session(sample_rate_hz=24_000)
    events = [*session.push(FrameDecoder("linear16", 24_000).push(raw_24k)), *session.finish()]
    return events[-1].text.splitlines()


def client_of(server, kind=OpenAI):
    return kind(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}/v1", max_retries=0)


QUERY = {"intent": "transcription"}


def test_the_official_sdk_gets_the_transcript(serve, pausing, raw_24k: bytes) -> None:
    server = serve()
    quiet = bytes(144_000)
    expected = expected_lines(pausing, raw_24k + quiet, 0.5)
    events, transcripts, deltas = [], {}, {}
    with client_of(server).realtime.connect(model="gpt-4o-transcribe", extra_query=QUERY) as connection:
        connection.session.update(
            session={
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24_000},
                        "transcription": {"model": "gpt-4o-transcribe"},
                        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
                    }
                },
            }
        )
        whole = raw_24k + quiet
        for first in range(0, len(whole), 9_600):
            chunk = base64.b64encode(whole[first : first + 9_600]).decode()
            connection.input_audio_buffer.append(audio=chunk)
        for event in connection:
            events.append(event.type)
            if event.type == f"{PREFIX}.delta":
                deltas[event.item_id] = deltas.get(event.item_id, "") + event.delta
            if event.type == f"{PREFIX}.completed":
                transcripts[event.item_id] = event.transcript
                if len(transcripts) == len(expected):
                    break
    assert events[:2] == ["session.created", "session.updated"]
    assert list(transcripts.values()) == expected
    assert deltas == transcripts
    server.wait_idle()
    (row,) = server.rows(1)
    assert (row.route, row.model) == ("/v1/realtime", "tiny")


def test_the_asynchronous_sdk_commits_by_itself(serve, pausing, raw_24k: bytes) -> None:
    server = serve()
    half = len(raw_24k) // 4 * 2

    async def run() -> list[str]:
        found: list[str] = []
        async with (
            client_of(server, AsyncOpenAI) as client,
            client.realtime.connect(model="tiny", extra_query=QUERY) as connection,
        ):
            await connection.session.update(
                session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
            )
            for part in (raw_24k[:half], raw_24k[half:]):
                await connection.input_audio_buffer.append(audio=base64.b64encode(part).decode())
                await connection.input_audio_buffer.commit()
            async for event in connection:
                if event.type == f"{PREFIX}.completed":
                    found.append(event.transcript)
                    if len(found) == 2:
                        break
        return found

    expected = [" ".join(expected_lines(pausing, part, None)) for part in (raw_24k[:half], raw_24k[half:])]
    assert asyncio.run(run()) == expected != ["", ""]


def test_errors_are_events_and_the_socket_stays_open(serve) -> None:
    with client_of(serve()).realtime.connect(model="tiny", extra_query=QUERY) as connection:
        assert connection.recv().type == "session.created"
        connection.send({"type": "response.create", "event_id": "e1"})
        error = connection.recv()
        assert (error.type, error.error.event_id, error.error.type) == ("error", "e1", "invalid_request_error")
        connection.input_audio_buffer.clear()
        assert connection.recv().type == "input_audio_buffer.cleared"


def test_who_may_not_or_wants_something_else_is_refused(serve) -> None:
    server = serve()

    def refused(path: str, key: str = KEY) -> tuple[int, dict]:
        with pytest.raises(InvalidStatus) as error:
            connect(server.ws + path, additional_headers={"Authorization": f"Bearer {key}"}).__enter__()
        return error.value.response.status_code, json.loads(error.value.response.body)["error"]

    assert refused("/v1/realtime?intent=transcription", key="x")[0] == 401
    status, error = refused("/v1/realtime?model=tiny")
    assert (status, "intent" in error["message"]) == (400, True)
    assert refused("/v1/realtime?intent=transcription&model=other")[0] == 404


def test_a_browser_sends_its_key_as_a_subprotocol(serve) -> None:
    protocols = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"]
    with connect(f"{serve().ws}/v1/realtime?intent=transcription", subprotocols=protocols) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(socket.recv(5))["type"] == "session.created"


def test_at_shutdown_the_open_item_is_completed(serve, raw_24k: bytes) -> None:
    server = serve()
    headers = {"Authorization": f"Bearer {KEY}"}
    with connect(f"{server.ws}/v1/realtime?intent=transcription", additional_headers=headers) as socket:
        message = {"type": "input_audio_buffer.append", "audio": base64.b64encode(raw_24k[:96_000]).decode()}
        socket.send(json.dumps(message))
        received = []
        while not received or received[-1]["type"] != f"{PREFIX}.delta":
            received.append(json.loads(socket.recv(5)))
        server.begin_closing()
        with suppress(ConnectionClosed):
            while True:
                received.append(json.loads(socket.recv(5)))
        assert socket.close_code == 1012
    assert received[-1]["type"] == f"{PREFIX}.completed"
    assert received[-1]["transcript"]
