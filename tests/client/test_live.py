"""The protocol of live streams, without a network."""

import json
from typing import Any

import pytest

from harken.client.address import ServerAddress
from harken.client.errors import ConnectionLost, ServerBusy, UnexpectedAnswer
from harken.client.events import Committed, Endpoint, Final, Hypothesis, StreamProblem
from harken.client.live import Conversation, StreamOptions
from harken.core import Word

SERVER = ServerAddress(url="http://host", api_key="hk_1_hush")


def hear(conversation: Conversation, **message: Any) -> Any:
    return conversation.hear(json.dumps(message))


def test_the_start_message_says_what_was_given_and_no_more() -> None:
    assert json.loads(StreamOptions(sample_rate_hz=8000).start) == {
        "type": "start", "encoding": "linear16", "sample_rate": 8000, "channels": 1
    }  # fmt: skip
    full = StreamOptions(
        sample_rate_hz=48_000, encoding="opus", channels=2, model="m", language="hi", endpoint_pause_s=0.8
    )
    assert json.loads(full.start) == {
        "type": "start", "encoding": "opus", "sample_rate": 48_000, "channels": 2, "model": "m", "language": "hi",
        "endpoint_pause_s": 0.8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate_hz": 0}, "sample_rate_hz is 0"),
        ({"encoding": "mp3"}, "encoding is 'mp3'; use one of linear16, linear32, mulaw, alaw, opus"),
        ({"channels": 0}, "channels is 0"),
        ({"endpoint_pause_s": 0.0}, "endpoint_pause_s is 0.0; use seconds above 0"),
        ({"keepalive_s": float("nan")}, "keepalive_s is nan"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamOptions(**{"sample_rate_hz": 16_000, **options})


def test_audio_is_cut_into_messages_but_a_packet_of_opus_is_not() -> None:
    pieces = list(StreamOptions(sample_rate_hz=16_000).pieces(bytes(200_001)))
    assert [len(piece) for piece in pieces] == [65_536, 65_536, 65_536, 3_393]
    assert list(StreamOptions(sample_rate_hz=48_000, encoding="opus").pieces(bytes(200_001))) == [bytes(200_001)]
    assert list(StreamOptions(sample_rate_hz=16_000).pieces(b"")) == []


def test_how_long_audio_lasts() -> None:
    assert StreamOptions(sample_rate_hz=8000, channels=2).seconds(bytes(32_000)) == 1.0
    assert StreamOptions(sample_rate_hz=8000, encoding="linear32").seconds(bytes(32_000)) == 1.0
    assert StreamOptions(sample_rate_hz=8000, encoding="mulaw").seconds(bytes(4_000)) == 0.5
    assert StreamOptions(sample_rate_hz=48_000, encoding="opus").seconds(bytes(4_000)) == 0.0


def test_messages_become_events() -> None:
    conversation = Conversation(SERVER)
    assert hear(conversation, type="ready", session_id="s", model="m", sample_rate=16_000) is None
    assert conversation.ready is not None
    assert (conversation.ready.session_id, conversation.ready.model) == ("s", "m")
    assert hear(conversation, type="hypothesis", text="a", at_s=1.0) == Hypothesis(text="a", at_s=1.0)
    word = {"text": "a", "start_s": 0.1, "end_s": 0.2, "confidence": None}
    assert hear(conversation, type="committed", text="a", words=[word], at_s=1.0, later=1) == Committed(
        text="a", at_s=1.0, words=(Word(text="a", start_s=0.1, end_s=0.2),)
    )
    assert hear(conversation, type="endpoint", rule="pause", silence_s=0.2, at_s=1.0) == Endpoint(
        rule="pause", silence_s=0.2, at_s=1.0
    )
    assert hear(conversation, type="of-a-later-version") is None
    assert hear(conversation, type="final", text="a", duration_s=2.0) == Final(text="a", duration_s=2.0)
    assert conversation.end(1000) is None


def test_an_end_before_the_final_event_is_an_error_in_the_servers_words() -> None:
    conversation = Conversation(SERVER)
    assert isinstance(conversation.end(1000), ConnectionLost)
    fields = {"code": "stream_flooded", "message": "Too fast.", "hint": "Slow down."}
    assert hear(conversation, type="error", error=fields) == StreamProblem(**fields)
    error = conversation.end(1008)
    assert isinstance(error, ServerBusy)
    assert (error.code, error.message, error.close_code) == ("stream_flooded", "Too fast.", 1008)


def test_the_last_events_of_a_stopping_server_are_not_the_whole() -> None:
    conversation = Conversation(SERVER)
    hear(conversation, type="final", text="a", duration_s=2.0)
    assert isinstance(conversation.end(1012), ServerBusy)


@pytest.mark.parametrize("message", [b"\x00", "[]", "no json", '{"type": "hypothesis", "text": 3}'])
def test_what_no_server_of_ours_says(message: str | bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        Conversation(SERVER).hear(message)


def test_a_server_that_repeats_the_key_does_not_get_it_into_errors() -> None:
    conversation = Conversation(SERVER)
    event = hear(conversation, type="error", error={"code": "x", "message": "bad key hk_1_hush"})
    assert event == StreamProblem(code="x", message="bad key [key]")
    assert "hush" not in str(conversation.end(1008))
