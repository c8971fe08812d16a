"""OpenAI's API: its own package, unmodified, against a server on a socket."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from tests.serving.route_server import DIGITS, KEY, RESULT, TRANSCRIPT, Stand

from harken.audio.limits import AudioDecodeError, AudioLimitError
from harken.core import InputError, RunFailed, Segment, Transcript
from harken.http.limits import LimitSettings
from harken.inference.formats import render
from harken.serving.contract import TranscribeOptions, Transcription
from harken.serving.errors import QueueFull
from harken.serving.shapes.openai import stream_events

AUDIO = ("../../x.wav", b"sound", "audio/wav")
TRANSCRIPTIONS = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, str]]:
    stand = Stand(spool=tmp_path_factory.mktemp("spool"), scopes=("transcribe",))
    with stand.running() as url:
        yield stand, url


@pytest.fixture
def stand(served: tuple[Stand, str]) -> Iterator[Stand]:
    stand, _ = served
    stand.service.error, stand.service.result, stand.service.delay_s = None, RESULT, 0.0
    stand.catalog.models = [DIGITS]
    for seen in (stand.service.calls, stand.service.paths, stand.rows):
        seen.clear()
    yield stand
    assert stand.left_over() == []


@pytest.fixture
def client(served: tuple[Stand, str], stand: Stand) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=f"{served[1]}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def raw(served: tuple[Stand, str], stand: Stand) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served[1], headers={"Authorization": f"Bearer {KEY}"}) as raw:
        yield raw


def test_json(stand: Stand, client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(file=AUDIO, model="whisper-1")
    assert answer.text == "one two drei"
    assert answer.usage is not None
    assert answer.usage.to_dict() == {"type": "duration", "seconds": 3}
    assert answer.languages is not None
    assert [language.code for language in answer.languages] == ["en", "de"]
    assert stand.service.calls == [(b"sound", TranscribeOptions(model="whisper-1"))]
    [row] = stand.rows
    assert (row.route, row.status, row.model, row.principal) == (TRANSCRIPTIONS, 200, "digits", "key:abc")
    assert dict(row.details) == {"format": "json", "task": "transcribe"}


def test_verbose_json(stand: Stand, client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        file=AUDIO,
        model="digits",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        temperature=0.5,
    )
    assert (answer.text, answer.language, answer.duration) == ("one two drei", "english", 2.25)
    assert answer.to_dict()["task"] == "transcribe"
    assert answer.usage is not None
    assert answer.usage.to_dict() == {"type": "duration", "seconds": 3}
    assert answer.words is not None
    assert [(word.word, word.start, word.end) for word in answer.words] == [
        ("one", 0.1, 0.4),
        ("two", 0.5, 0.9),
        ("drei", 1.5, 1.9),
    ]
    assert answer.segments is not None
    first, second = answer.segments
    assert (first.id, first.text, first.start, first.end, first.seek) == (0, "one two", 0.1, 0.9, 10)
    assert (second.id, second.text, second.start, second.end, second.seek) == (1, "drei", 1.5, 1.9, 150)
    assert first.avg_logprob == pytest.approx(-1.0397, abs=1e-4)  # the mean of ln 1/2 and ln 1/4
    assert (second.avg_logprob, second.no_speech_prob, second.temperature, second.tokens) == (0.0, 0.0, 0.5, [])
    assert stand.service.options.temperature == 0.5


@pytest.mark.parametrize(
    ("granularities", "words", "segments"),
    [(["word"], True, False), (["segment"], False, True), ([], False, True), (["word", "segment"], True, True)],
)
@pytest.mark.parametrize("name", ["timestamp_granularities", "timestamp_granularities[]"])
def test_granularities(
    stand: Stand, raw: httpx.Client, granularities: list[str], words: bool, segments: bool, name: str
) -> None:
    data = {"model": "default", "response_format": "verbose_json", name: granularities}
    answer = raw.post(TRANSCRIPTIONS, files={"file": AUDIO}, data=data).json()
    assert ("words" in answer, "segments" in answer) == (words, segments)


def test_a_model_that_tells_no_language_and_no_words(stand: Stand, client: OpenAI) -> None:
    segment = Segment(text="eins", start_s=0.0, end_s=0.5)
    stand.service.result = replace(RESULT, transcript=Transcript(text="eins", duration_s=0.5, segments=(segment,)))
    answer = client.audio.transcriptions.create(
        file=AUDIO, model="digits", response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (answer.language, answer.words) == ("unknown", [])
    assert answer.segments is not None
    assert answer.segments[0].avg_logprob == 0.0
    brief = client.audio.transcriptions.create(file=AUDIO, model="digits")
    assert brief.languages == []


@pytest.mark.parametrize(("style", "own"), [("text", "txt"), ("srt", "srt"), ("vtt", "vtt")])
def test_texts(stand: Stand, client: OpenAI, style: Any, own: str) -> None:
    answer = client.audio.transcriptions.create(file=AUDIO, model="digits", response_format=style)
    assert answer == render(TRANSCRIPT, own)


def test_every_option(stand: Stand, client: OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        file=AUDIO,
        model="digits",
        language="EN",
        prompt="Numbers.",
        temperature=0,
        keywords=["Harken", "New York"],
        chunking_strategy={"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300},
        stream=False,
    )
    assert stand.service.options == TranscribeOptions(
        model="digits", language="en", prompt="Numbers.", temperature=0.0, hotwords=("Harken", "New York")
    )
    assert answer.headers["x-unused-parameters"] == "chunking_strategy"
    plain = client.audio.transcriptions.with_raw_response.create(file=AUDIO, model="digits", chunking_strategy="auto")
    assert "x-unused-parameters" not in plain.headers


@pytest.mark.parametrize(
    ("spoken", "languages", "heard"),
    [
        (("en",), ["en", "de"], "en"),
        (("en", "de"), ["de", "en"], None),
        (("en", "de", "fr"), ["de", "hi"], "de"),
        ((), ["de"], "de"),
    ],
)
def test_languages(stand: Stand, client: OpenAI, spoken: Any, languages: list[str], heard: str | None) -> None:
    stand.catalog.models = [replace(DIGITS, languages=spoken)]
    client.audio.transcriptions.create(file=AUDIO, model="digits", languages=languages)
    assert stand.service.options.language == heard


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"response_format": "diarized_json"}, "response_format", "tells speakers apart"),
    ({"response_format": "xml"}, "response_format", "json, text, srt, verbose_json, vtt"),
    ({"temperature": "9"}, "temperature", "0 to 1"),
    ({"temperature": "-0.1"}, "temperature", "0 to 1"),
    ({"language": "english"}, "language", "ISO 639-1"),
    ({"language": "en-US"}, "language", "ISO 639-1"),
    ({"languages[]": ["en", "xx"]}, "languages", "'xx'"),
    ({"languages": ["de", "fr"]}, "languages", "knows none of de, fr"),
    ({"language": "en", "languages": ["de"]}, "language", "not among languages"),
    ({"timestamp_granularities[]": "word"}, "timestamp_granularities", "verbose_json"),
    (
        {"timestamp_granularities": "letter", "response_format": "verbose_json"},
        "timestamp_granularities",
        "word, segment",
    ),
    ({"include[]": "logprobs"}, "include", "log probabilities"),
    ({"include": "lyrics"}, "include", "logprobs"),
    ({"known_speaker_names[]": "Ann"}, "known_speaker_names", "tells speakers apart"),
    ({"known_speaker_references": "data:audio/wav;base64,x"}, "known_speaker_references", "tells speakers apart"),
    ({"stream": "true", "response_format": "srt"}, "stream", "json or text"),
    ({"stream": "perhaps"}, "stream", "true or false"),
    ({"chunking_strategy": "fast"}, "chunking_strategy", "server_vad"),
    ({"chunking_strategy": '{"type": "client_vad"}'}, "chunking_strategy", "server_vad"),
    ({"chunking_strategy": "[" * 900}, "chunking_strategy", "server_vad"),
    ({"chunking_strategy": '{"type": "server_vad", "threshold": 2}'}, "chunking_strategy[threshold]", "0 to 1"),
    ({"chunking_strategy": '{"type": "server_vad", "volume": 2}'}, "chunking_strategy[volume]", "not a parameter"),
    ({"chunking_strategy[type]": "server_vad", "chunking_strategy": "auto"}, "chunking_strategy", "twice"),
    ({"chunking_strategy[threshold]": "0.5"}, "chunking_strategy", "no known type"),
    ({"model": ["digits", "digits"]}, "model", "2 times"),
    ({"model": ""}, "model", "missing"),
    ({"speed": "2"}, "speed", "'speed'"),
]


@pytest.mark.parametrize(("fields", "param", "words"), REFUSED)
def test_refused_parameters(stand: Stand, raw: httpx.Client, fields: dict[str, Any], param: str, words: str) -> None:
    answer = raw.post(TRANSCRIPTIONS, files={"file": AUDIO}, data={"model": "digits"} | fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert words in error["message"]
    codes = {"model": "missing_required_parameter", "speed": "unknown_parameter", "[volume]": "unknown_parameter"}
    expected = next((code for name, code in codes.items() if param.endswith(name)), "invalid_value")
    assert error["code"] == ("invalid_value" if fields.get("model") else expected)
    assert stand.service.calls == []
    assert [row.status for row in stand.rows] == [400]


def test_several_languages_a_model_cannot_choose_among(stand: Stand, raw: httpx.Client) -> None:
    stand.catalog.models = [replace(DIGITS, languages=("en", "de", "fr"))]
    data = {"model": "digits", "languages": ["en", "de"]}
    answer = raw.post(TRANSCRIPTIONS, files={"file": AUDIO}, data=data)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "languages")


def test_a_missing_file(stand: Stand, raw: httpx.Client) -> None:
    answer = raw.post(TRANSCRIPTIONS, files={"": b""}, data={"model": "digits"})
    assert answer.status_code == 400
    answer = raw.post(TRANSCRIPTIONS, files={"model": (None, b"digits")})
    assert answer.json()["error"]["param"] == "file"
    assert answer.json()["error"]["code"] == "missing_required_parameter"


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        (AudioDecodeError("It is no audio."), openai.APIStatusError, 415, "audio_decode_error"),
        (AudioLimitError("Too long."), openai.APIStatusError, 413, "audio_limit_error"),
        (InputError("digits takes no prompt."), openai.BadRequestError, 400, "input_error"),
        (QueueFull("Full.", retry_after_s=2), openai.InternalServerError, 503, "queue_full"),
        (RunFailed("/secret"), openai.InternalServerError, 500, "run_failed"),
        (ZeroDivisionError("/secret"), openai.InternalServerError, 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_the_packages_classes(
    stand: Stand, client: OpenAI, error: Exception, kind: type[Exception], status: int, code: str, stream: bool
) -> None:
    stand.service.error = error
    with pytest.raises(kind) as caught:
        client.audio.transcriptions.create(file=AUDIO, model="digits", stream=stream)
    assert isinstance(caught.value, openai.APIStatusError)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert "secret" not in caught.value.message
    if status == 500:
        assert caught.value.request_id
        assert caught.value.request_id in caught.value.message
    assert [(row.status, row.details["error"]) for row in stand.rows] == [(status, code)]


def test_errors_before_the_service(served: tuple[Stand, str], stand: Stand, client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.transcriptions.create(file=AUDIO, model="big")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    stranger = client.with_options(api_key="sk-wrong")
    with pytest.raises(openai.AuthenticationError) as unknown:
        stranger.audio.transcriptions.create(file=AUDIO, model="digits")
    assert unknown.value.code == "invalid_api_key"
    assert stand.service.calls == []


def test_streaming(stand: Stand, client: OpenAI) -> None:
    with client.audio.transcriptions.create(file=AUDIO, model="digits", stream=True) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in stream.response.headers
        events = [event.to_dict() for event in stream]
    assert events == [
        {"type": "transcript.text.delta", "delta": "one two"},
        {"type": "transcript.text.delta", "delta": " drei"},
        {
            "type": "transcript.text.done",
            "text": "one two drei",
            "languages": [{"code": "en"}, {"code": "de"}],
            "usage": {"type": "duration", "seconds": 3},
        },
    ]
    assert [(row.status, row.text) for row in stand.rows] == [(200, "one two drei")]


def test_streaming_from_asyncio(served: tuple[Stand, str], stand: Stand) -> None:
    async def listen() -> tuple[str, str]:
        async with AsyncOpenAI(api_key=KEY, base_url=f"{served[1]}/v1", max_retries=0) as client:
            stream = await client.audio.transcriptions.create(file=AUDIO, model="digits", stream=True)
            told, whole = "", ""
            async for event in stream:
                if event.type == "transcript.text.delta":
                    told += event.delta
                elif event.type == "transcript.text.done":
                    whole = event.text
            plain = await client.audio.transcriptions.create(file=AUDIO, model="digits")
            assert plain.text == whole
            return told, whole

    assert asyncio.run(listen()) == ("one two drei", "one two drei")


def test_nothing_said_is_one_done_event(stand: Stand, client: OpenAI) -> None:
    stand.service.result = replace(RESULT, transcript=Transcript(text="", duration_s=1.0))
    with client.audio.transcriptions.create(file=AUDIO, model="digits", stream=True) as stream:
        [event] = [event.to_dict() for event in stream]
    assert (event["type"], event["text"]) == ("transcript.text.done", "")


@pytest.mark.parametrize(
    ("error", "code"), [(RunFailed("/secret"), "run_failed"), (ZeroDivisionError("/secret"), "internal_error")]
)
def test_an_error_after_the_stream_began(
    stand: Stand, client: OpenAI, raw: httpx.Client, error: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harken.serving.routes.openai.STATUS_S", 0.01)
    monkeypatch.setattr("harken.serving.routes.event_stream.KEEP_ALIVE_S", 0.02)
    stand.service.error, stand.service.delay_s = error, 0.1
    with client.audio.transcriptions.create(file=AUDIO, model="digits", stream=True) as stream:
        assert stream.response.status_code == 200
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert caught.value.code == code
    answer = raw.post(TRANSCRIPTIONS, files={"file": AUDIO}, data={"model": "digits", "stream": "true"})
    assert answer.status_code == 200
    assert "secret" not in answer.text
    *comments, last = answer.text.strip().split("\n\n")
    assert set(comments) == {": still at work"}
    error_ = json.loads(last.removeprefix("data: "))["error"]
    assert (error_["type"], error_["code"]) == ("server_error", code)
    assert [(row.status, row.details["error"]) for row in stand.rows] == [(500, code), (500, code)]


def test_a_slow_transcription_streams_in_the_end(stand: Stand, client: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.serving.routes.openai.STATUS_S", 0.01)
    monkeypatch.setattr("harken.serving.routes.event_stream.KEEP_ALIVE_S", 0.02)
    stand.service.delay_s = 0.1
    with client.audio.transcriptions.create(file=AUDIO, model="digits", stream=True) as stream:
        assert stand.left_over() != []
        kinds = [event.type for event in stream]
    assert kinds == ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]


def test_the_events_of_hours_are_written_in_a_thread(
    stand: Stand, client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_loop = []

    def noted(result: Transcription) -> Any:
        try:
            on_loop.append(asyncio.get_running_loop())
        except RuntimeError:
            on_loop.append(None)
        return stream_events(result)

    monkeypatch.setattr("harken.serving.routes.event_stream.stream_events", noted)
    with client.audio.transcriptions.create(file=AUDIO, model="digits", stream=True) as stream:
        assert len(list(stream)) == 3
    assert on_loop == [None]


def test_models(stand: Stand, client: OpenAI) -> None:
    shown = {"id": "digits", "object": "model", "created": 1_700_000_000, "owned_by": "harken"}
    assert [model.to_dict() for model in client.models.list()] == [shown]
    assert client.models.retrieve("digits").to_dict() == shown
    assert client.models.retrieve("whisper-1").id == "digits"
    stand.catalog.models = [replace(DIGITS, name="team/digits")]
    assert client.models.retrieve("team/digits").id == "team/digits"
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("big")
    assert missing.value.code == "model_not_found"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the package's own, of what OpenAI will end
def test_translation(stand: Stand, client: OpenAI, raw: httpx.Client) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.translations.create(file=AUDIO, model="digits")
    assert refused.value.param == "model"
    assert "cannot translate" in refused.value.message
    stand.catalog.models = [replace(DIGITS, can_translate=True)]
    assert client.audio.translations.create(file=AUDIO, model="digits", prompt="p").text == "one two drei"
    assert stand.service.options == TranscribeOptions(model="digits", task="translate", prompt="p")
    verbose = client.audio.translations.create(file=AUDIO, model="digits", response_format="verbose_json")
    assert verbose.language == "english"
    assert verbose.to_dict()["task"] == "translate"
    assert client.audio.translations.create(file=AUDIO, model="digits", response_format="srt") == render(
        TRANSCRIPT, "srt"
    )
    answer = raw.post("/v1/audio/translations", files={"file": AUDIO}, data={"model": "digits", "language": "de"})
    assert answer.json()["error"]["code"] == "unknown_parameter"


def test_over_the_rate(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path, limits=LimitSettings(rate="1/minute"))
    with stand.running() as url, httpx.Client(base_url=url) as raw:
        answers = [raw.get("/v1/models") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json()["error"]["code"] == "rate_limit_exceeded"
    assert answers[1].json()["error"]["type"] == "rate_limit_error"
    assert int(answers[1].headers["retry-after"]) >= 1
