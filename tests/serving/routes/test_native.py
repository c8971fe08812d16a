"""`POST /transcribe`: every field, every refusal, and what stays behind."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.route_server import KEY, RESULT, TRANSCRIPT, Stand

from harken.audio.limits import AudioDecodeError, AudioLimitError
from harken.core import InputError, RunFailed, Transcript
from harken.http.limits import LimitSettings
from harken.serving.contract import TranscribeOptions
from harken.serving.errors import QueueFull


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, str]]:
    stand = Stand(spool=tmp_path_factory.mktemp("spool"))
    with stand.running() as url:
        yield stand, url


@pytest.fixture
def server(served: tuple[Stand, str]) -> Iterator[tuple[Stand, httpx.Client]]:
    stand, url = served
    stand.service.error, stand.service.result = None, RESULT
    for seen in (stand.service.calls, stand.service.paths, stand.rows):
        seen.clear()
    with httpx.Client(base_url=url) as client:
        yield stand, client
    assert stand.left_over() == []


def post(client: httpx.Client, data: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
    return client.post("/transcribe", files={"file": ("a.wav", b"sound")}, data=data or {}, **more)


def test_json(server: tuple[Stand, httpx.Client]) -> None:
    stand, client = server
    answer = post(client, headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 200
    assert answer.json() == {
        "text": "one two drei",
        "language_detected": "en",
        "model": "digits",
        "duration_s": 2.25,
        "confidence": pytest.approx(1.75 / 3),
        "segments": [
            {"text": "one two", "start_s": 0.1, "end_s": 0.9, "language": "en"},
            {"text": "drei", "start_s": 1.5, "end_s": 1.9, "language": "de"},
        ],
        "timings": {"decode_s": 0.01, "queue_s": 0.02, "inference_s": 0.03, "total_s": 0.06},
        "batch_size": 3,
        "cached": False,
        "request_id": "r-1",
    }
    assert stand.service.calls == [(b"sound", TranscribeOptions())]
    [row] = stand.rows
    assert (row.request_id, row.route, row.status, row.model) == ("r-1", "/transcribe", 200, "digits")
    assert (row.audio_s, row.text, row.principal) == (2.25, "one two drei", "anonymous@127.0.0.1")
    assert dict(row.details) == {"format": "json"}
    assert 0 < row.duration_s < 2


def test_words(server: tuple[Stand, httpx.Client]) -> None:
    _, client = server
    answer = post(client, {"word_times": "true"}).json()
    last = {"text": "drei", "start_s": 1.5, "end_s": 1.9, "confidence": 1.0}
    assert [word["text"] for word in answer["words"]] == ["one", "two", "drei"]
    assert answer["words"][2] == last
    assert answer["segments"][1]["words"] == [last]


def test_nothing_said(server: tuple[Stand, httpx.Client]) -> None:
    stand, client = server
    stand.service.result = replace(RESULT, transcript=Transcript(text="", duration_s=1.5))
    answer = post(client, {"word_times": "1"}).json()
    assert (answer["text"], answer["confidence"], answer["words"], answer["segments"]) == ("", None, [], [])


def test_options(server: tuple[Stand, httpx.Client]) -> None:
    stand, client = server
    fields = {
        "model": "digits",
        "language_hint": "pt-BR",
        "prompt": "Numbers.",
        "temperature": "0.5",
        "hotwords": "Harken, Tashkent\nNew York\r\n,Harken",
        "format": "",
    }
    assert post(client, fields).status_code == 200
    assert stand.service.options == TranscribeOptions(
        model="digits",
        language="pt-BR",
        prompt="Numbers.",
        temperature=0.5,
        hotwords=("Harken", "Tashkent", "New York"),
    )


@pytest.mark.parametrize(
    ("style", "kind", "text"),
    [
        ("txt", "text/plain", "one two drei\n"),
        ("vtt", "text/vtt", "WEBVTT\n\n1\n00:00:00.100 --> 00:00:00.900\none two\n\n2\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,100 --> 00:00:00,900\none two\n\n2\n"),
        ("tsv", "text/tab-separated-values", "start_s\tend_s\ttext\n0.100\t0.900\tone two\n"),
    ],
)
def test_formats(server: tuple[Stand, httpx.Client], style: str, kind: str, text: str) -> None:
    _, client = server
    answer = post(client, {"format": style})
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.text.startswith(text)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"temperature": "9"}, "bad_parameter", ("temperature", "0 to 1")),
        ({"temperature": "nan"}, "bad_parameter", ("temperature", "0 to 1")),
        ({"temperature": "warm"}, "bad_parameter", ("temperature", "'warm'", "0 to 1")),
        ({"format": "docx"}, "bad_parameter", ("format", "'docx'", "json, txt, srt, vtt, tsv")),
        ({"word_times": "maybe"}, "bad_parameter", ("word_times", "true or false")),
        ({"word_times": "true", "format": "srt"}, "bad_parameter", ("word_times", "format srt")),
        ({"language_hint": "klingon"}, "bad_parameter", ("language_hint", "'klingon'", "BCP-47")),
        ({"language_hint": "xx"}, "bad_parameter", ("language_hint", "'xx'")),
        ({"hotwords": "x" * 101}, "bad_parameter", ("hotwords", "100 characters")),
        ({"hotwords": ",".join(map(str, range(201)))}, "bad_parameter", ("hotwords", "201 phrases", "200")),
        ({"prompt": "x" * 4001}, "bad_parameter", ("prompt", "4001 characters", "4000")),
        ({"prompt": "a\0b"}, "bad_parameter", ("prompt", "NUL")),
        ({"model": ["a", "b"]}, "bad_parameter", ("model", "2 times")),
        ({"language": "en"}, "unknown_parameter", ("'language'", "language_hint")),
        ({"x\r\nSet-Cookie: a": "b"}, "unknown_parameter", ("is not a parameter",)),
        ({"model": "big"}, "unknown_model", ("'big'",)),
    ],
)
def test_refused_fields(
    server: tuple[Stand, httpx.Client], fields: dict[str, Any], code: str, words: tuple[str, ...]
) -> None:
    stand, client = server
    answer = post(client, fields)
    assert answer.status_code == (404 if code == "unknown_model" else 400)
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == answer.headers["x-request-id"]
    for word in words:
        assert word in f"{error['message']} {error['hint']}"
    assert stand.service.calls == []
    assert [(row.status, row.details["error"], row.model) for row in stand.rows] == [(answer.status_code, code, None)]


@pytest.mark.parametrize(
    ("request_", "code", "word"),
    [
        ({"files": {"model": (None, b"digits")}}, "missing_parameter", "file is missing"),
        ({"files": {"file": (None, b"sound")}}, "bad_parameter", "file is a text field"),
        ({"data": {"model": "digits"}}, "input_error", "multipart/form-data"),
        ({"files": [("file", b"a"), ("file", b"b")]}, "input_error", "files"),
        ({"files": {"sound": b"a"}}, "unknown_parameter", "'sound'"),
        ({"files": {"model": b"a"}}, "bad_parameter", "model is a file"),
        ({"content": b"sound", "headers": {"Content-Type": "audio/wav"}}, "input_error", "multipart/form-data"),
        ({"files": {"file": b"a"}, "params": {"format": "srt"}}, "unknown_parameter", "'format'"),
    ],
)
def test_refused_bodies(server: tuple[Stand, httpx.Client], request_: Any, code: str, word: str) -> None:
    stand, client = server
    answer = client.post("/transcribe", **request_)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == code
    assert word in f"{error['message']} {error['hint']}"
    assert stand.service.calls == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AudioDecodeError("It is no audio."), 415, "audio_decode_error"),
        (AudioLimitError("It is too long."), 413, "audio_limit_error"),
        (InputError("digits takes no prompt."), 400, "input_error"),
        (QueueFull("Full.", retry_after_s=3.0), 503, "queue_full"),
        (RunFailed("/home/secret broke"), 500, "run_failed"),
        (ZeroDivisionError("/home/secret"), 500, "internal_error"),
    ],
)
def test_failures(server: tuple[Stand, httpx.Client], error: Exception, status: int, code: str) -> None:
    stand, client = server
    stand.service.error = error
    answer = post(client)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "secret" not in answer.text
    assert answer.headers.get("retry-after") == ("3" if status == 503 else None)
    [row] = stand.rows
    assert (row.status, row.details["error"], row.text) == (status, code, None)
    stand.service.error = None
    assert post(client).status_code == 200


def test_a_key_needs_the_scope(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path, scopes=("metrics",))
    with stand.running() as url, httpx.Client(base_url=url) as client:
        assert post(client).status_code == 401
        assert post(client, headers={"X-API-Key": KEY}).status_code == 403
        assert stand.service.calls == []


def test_audio_is_charged_to_the_caller(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path, limits=LimitSettings(rate=None, audio_s_per_day=5))
    with stand.running() as url, httpx.Client(base_url=url) as client:
        assert [post(client).status_code for _ in range(3)] == [200, 200, 429]
        answer = post(client)
    assert int(answer.headers["retry-after"]) > 0
    assert json.loads(answer.text)["error"]["code"] == "rate_exceeded"
    assert TRANSCRIPT.text not in answer.text
    assert [(row.status, row.audio_s) for row in stand.rows] == [(200, 2.25), (200, 2.25), (429, None), (429, None)]
