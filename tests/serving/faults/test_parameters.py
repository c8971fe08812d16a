"""Parameters that are missing, unknown or impossible, texts that could break subtitles, and metrics that users could
fill: cases 19, 20, 37 and 39.
"""

import http.client
import re
from contextlib import closing
from typing import Any

import httpx
import pytest
from tests.serving.faults.server_process import MIB, NATIVE, OPENAI, PATHS, ServerProcess, check_refusal
from tests.serving.faults.sounds import recording

AUDIO = recording(0.5)
NATIVE_BAD: dict[str, tuple[bytes | None, dict[str, Any], str, str]] = {
    "no file": (None, {}, "missing_parameter", "file"),
    "an unknown field": (AUDIO, {"volume": "11"}, "unknown_parameter", "volume"),
    "an unknown format": (AUDIO, {"format": "docx"}, "bad_parameter", "format"),
    "a temperature of 9": (AUDIO, {"temperature": "9"}, "bad_parameter", "temperature"),
    "a temperature of nan": (AUDIO, {"temperature": "nan"}, "bad_parameter", "temperature"),
    "no flag": (AUDIO, {"word_times": "perhaps"}, "bad_parameter", "word_times"),
    "word times in srt": (AUDIO, {"word_times": "true", "format": "srt"}, "bad_parameter", "word_times"),
    "a language that is none": (AUDIO, {"language_hint": "klingon!"}, "bad_parameter", "language_hint"),
    "a language the model lacks": (AUDIO, {"language_hint": "ja"}, "input_error", "language"),
    "a prompt of 5,000": (AUDIO, {"prompt": "a" * 5_000}, "bad_parameter", "prompt"),
}
OPENAI_BAD: dict[str, tuple[bytes | None, dict[str, Any], str, str | None]] = {
    "no file": (None, {}, "missing_required_parameter", "file"),
    "no model": (AUDIO, {"model": None}, "missing_required_parameter", "model"),
    "an unknown field": (AUDIO, {"volume": "11"}, "unknown_parameter", "volume"),
    "an unknown format": (AUDIO, {"response_format": "docx"}, "invalid_value", "response_format"),
    "a temperature of 9": (AUDIO, {"temperature": "9"}, "invalid_value", "temperature"),
    "granularity without verbose": (
        AUDIO, {"timestamp_granularities[]": "word"}, "invalid_value", "timestamp_granularities",
    ),
    "an unknown granularity": (
        AUDIO,
        {"timestamp_granularities[]": "letter", "response_format": "verbose_json"},
        "invalid_value",
        "timestamp_granularities",
    ),
    "a language that is none": (AUDIO, {"language": "klingon"}, "invalid_value", "language"),
    "a language the model lacks": (AUDIO, {"language": "ja"}, "input_error", None),
    "speakers": (AUDIO, {"response_format": "diarized_json"}, "invalid_value", "response_format"),
    "no strategy": (AUDIO, {"chunking_strategy": "{"}, "invalid_value", "chunking_strategy"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NATIVE_BAD)
def test_harkens_own_path_names_the_parameter(server: ServerProcess, kind: str) -> None:
    audio, fields, code, parameter = NATIVE_BAD[kind]
    passes = server.metric('asr_batch_size_count{model="tiny"}')
    answer = server.post(NATIVE, audio, **fields)
    message = check_refusal(answer, NATIVE, 400, code)
    assert parameter in message
    assert server.metric('asr_batch_size_count{model="tiny"}') == passes, "nothing is heard"
    assert server.audit(answer.headers["x-request-id"])["details"]["error"] == code


@pytest.mark.parametrize("kind", OPENAI_BAD)
def test_openais_path_names_the_parameter(server: ServerProcess, kind: str) -> None:
    audio, fields, code, parameter = OPENAI_BAD[kind]
    passes = server.metric('asr_batch_size_count{model="tiny"}')
    answer = server.post(OPENAI, audio, **fields)
    check_refusal(answer, OPENAI, 400, code, param=parameter)
    assert server.metric('asr_batch_size_count{model="tiny"}') == passes, "nothing is heard"
    assert server.audit(answer.headers["x-request-id"])["status"] == 400


def test_an_unknown_model_is_not_found(server: ServerProcess) -> None:
    native = server.post(NATIVE, AUDIO, model="../../tiny")
    assert "tiny, faulty" in native.json()["error"]["hint"]
    check_refusal(native, NATIVE, 404, "unknown_model")
    check_refusal(server.post(OPENAI, AUDIO, model="gpt-9"), OPENAI, 404, "model_not_found", param="model")
    check_refusal(httpx.get(f"{server.url}/v1/models/gpt-9", timeout=10), OPENAI, 404, "model_not_found", param="model")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [b"{}", b"--nonsense", b"", b"--b\r\n\r\n"])
def test_a_body_that_is_no_form(server: ServerProcess, path: str, body: bytes) -> None:
    for kind in ("application/json", "multipart/form-data", "multipart/form-data; boundary=b", "text/plain"):
        answer = httpx.post(f"{server.url}{path}", content=body, headers={"Content-Type": kind}, timeout=20)
        assert answer.status_code == 400, (kind, answer.text)
        assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(("path", "field"), [(NATIVE, "format"), (OPENAI, "response_format")])
def test_an_arrow_in_the_text_breaks_no_subtitles(server: ServerProcess, path: str, field: str) -> None:
    """The words are `one --> <b>two</b> &`; the second cue begins at 59.9996 s, which is a minute."""
    srt = server.post(path, AUDIO, model="faulty", **{field: "srt"})
    vtt = server.post(path, AUDIO, model="faulty", **{field: "vtt"})
    assert (srt.status_code, vtt.status_code) == (200, 200)
    assert srt.text == (
        "1\n00:00:00,000 --> 00:00:00,500\none\n\n2\n00:01:00,000 --> 00:01:00,500\n-- > <b>two</b> &\n"
    )
    assert vtt.text == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:00.500\none\n\n"
        "2\n00:01:00.000 --> 00:01:00.500\n--&gt; &lt;b&gt;two&lt;/b&gt; &amp;\n"
    )
    assert vtt.headers["content-type"].startswith("text/vtt")


def test_ten_thousand_strings_of_users_become_no_label(server: ServerProcess) -> None:
    """1,000 requests, each with ten strings that nobody sent before."""
    server.post(NATIVE, AUDIO, model="unheard-of")
    httpx.get(f"{server.url}/v1/models/unheard-of", timeout=10)
    httpx.request("BREW", f"{server.url}/coffee", timeout=10)
    before = series(server.metrics())
    with closing(http.client.HTTPConnection(*server.address, timeout=20)) as connection, server.growth_below(24 * MIB):
        for number in range(1_000):
            own = [f"user{number}x{place}" for place in range(10)]
            paths = (f"/v1/models/{own[0]}?q={own[1]}", f"/{own[0]}/{own[1]}", f"/jobs/{own[0]}?{own[1]}=1")
            method = own[2].upper() if number % 10 == 0 else "GET"
            names = ("User-Agent", "X-Request-ID", "Referer", "Accept-Language", "X-Forwarded-For", "Cookie", "Origin")
            connection.request(method, paths[number % 3], headers=dict(zip(names, own[3:], strict=True)))
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (400, 404, 405), (method, paths[number % 3])
    page = server.metrics()
    assert not re.findall(r"user\d+x\d", page, re.IGNORECASE)
    new = series(page) - before
    # Of routes that were not asked before: each has a status and a duration, and those are finite.
    assert len(new) < 60, sorted(new)


def series(page: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")}
