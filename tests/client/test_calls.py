"""Requests and answers, the same for both clients, against a real server and against answers made up."""

import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.client.both import Both
from tests.client.contract_server import KEY, Contract, transcription

from harken.client.calls import job_call
from harken.client.errors import (
    AccessRefused,
    ConnectionLost,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    ServerUnreachable,
    UnexpectedAnswer,
)
from harken.client.results import Check, Health, Problem, Readiness, ServedModel, Timings, TranscriptionResult
from harken.core import HarkenError, InputError, Word

ERROR = {"error": {"code": "queue_full", "message": "Too much waits.", "hint": "", "request_id": "r-1"}}


# Transcribing


def test_a_file_and_every_option_arrive_and_the_result_is_typed(both: Both, contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"x" * 100_000)
    options: dict[str, Any] = {"model": "other", "language_hint": "hi", "word_times": True, "prompt": "Names.",
                               "hotwords": ["Tashkent", "New Delhi"], "temperature": 0.2}  # fmt: skip
    result = both.call(contract.url, lambda client: client.transcribe(tmp_path / "talk.wav", **options))
    [call] = contract.calls
    assert (call["name"], call["size"]) == ("talk.wav", 100_000)
    assert 100_000 < int(call["headers"]["content-length"]) < 102_000
    assert {name: call[name] for name in options} == {**options, "hotwords": "Tashkent\nNew Delhi"}
    assert call["format"] == "json"
    assert call["headers"]["user-agent"].startswith("harken/")
    assert "authorization" not in call["headers"]
    assert isinstance(result, TranscriptionResult)
    assert (result.text.split()[1:], result.model, result.language_detected) == (["100000", "bytes"], "other", "hi")
    assert result.words[1] == Word(text="100000", start_s=0.5, end_s=0.9, confidence=0.9)
    assert [len(segment.words) for segment in result.segments] == [2, 1]
    assert result.timings == Timings(decode_s=0.01, queue_s=0.02, inference_s=0.03, total_s=0.06)
    assert (result.batch_size, result.cached, result.request_id, result.confidence) == (2, False, "req-1", 0.9)
    assert result.transcript.words == result.words


def test_options_left_out_are_not_sent(both: Both, contract: Contract) -> None:
    result = both.call(contract.url, lambda client: client.transcribe(b"abc"))
    [call] = contract.calls
    assert {call[name] for name in ("model", "language_hint", "hotwords", "prompt", "temperature")} == {None}
    assert result.words == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 1.5}, "temperature is 1.5"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"hotwords": "word"}, "hotwords is the text 'word'"),
        ({"hotwords": ["a,b"]}, "hotwords holds 'a,b'"),
        ({"hotwords": ["ok", " "]}, "hotwords holds ' '"),
    ],
)
def test_options_no_server_takes_are_refused_before_anything_is_sent(
    both: Both, contract: Contract, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        both.call(contract.url, lambda client: client.transcribe(b"abc", **options))
    assert contract.calls == []


def test_the_servers_refusal_is_typed(both: Both, contract: Contract) -> None:
    with pytest.raises(RequestRefused) as caught:
        both.call(contract.url, lambda client: client.transcribe(b"not audio"))
    error = caught.value
    assert (error.status, error.code, error.request_id) == (415, "audio_decode_error", "req-1")
    assert str(error) == "The file is not audio of a known kind. Send WAV or FLAC."


def test_many_files_come_in_order_each_with_its_result_or_error(both: Both, contract: Contract, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.wav" for number in range(10)]
    for number, path in enumerate(paths):
        path.write_bytes(b"not audio" if number == 3 else bytes(number))
    paths.insert(5, tmp_path / "absent.wav")
    contract.delays_s = {"0.wav": 0.3}
    answers = both.call(contract.url, lambda client: client.transcribe_many(paths, concurrency=3, model="other"))
    assert [path for path, _ in answers] == paths
    kinds = [type(answer) for _, answer in answers]
    assert kinds == [*[TranscriptionResult] * 3, RequestRefused, TranscriptionResult, InputError,
                     *[TranscriptionResult] * 5]  # fmt: skip
    assert [answer.text.split()[1] for _, answer in answers if isinstance(answer, TranscriptionResult)] == [
        "0", "1", "2", "4", "5", "6", "7", "8", "9"
    ]  # fmt: skip
    assert {call["model"] for call in contract.calls} == {"other"}
    with pytest.raises(ValueError, match="concurrency is 0"):
        both.call(contract.url, lambda client: client.transcribe_many(paths, concurrency=0))


# What the server says of itself


def test_a_model_is_exchanged_by_its_name_whatever_that_holds(both: Both) -> None:
    facts = {"name": "a/b c", "family": "wav2vec2", "sample_rate_hz": 16_000, "languages": ["uz"], "created_s": 7,
             "loaded": True, "can_translate": False, "can_stream": True, "path": "/m/new", "later": 1}  # fmt: skip
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=facts)

    found = both.call("http://host", lambda client: client.swap_model("a/b c", "new"), handler=handler)
    assert (found.name, found.languages, found.path, found.loaded) == ("a/b c", ("uz",), "/m/new", True)
    assert (asked[0].method, asked[0].url.raw_path) == ("PUT", b"/models/a%2Fb%20c")
    assert json.loads(asked[0].content) == {"path": "new"}
    assert asked[0].headers["content-type"] == "application/json"
    assert asked[0].headers["content-length"] == str(len(asked[0].content))


def test_an_exchange_that_was_lost_is_not_sent_twice(both: Both) -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ReadError("cut")

    with pytest.raises(ConnectionLost):
        both.call("http://host", lambda client: client.swap_model("a", "new"), handler=handler)
    assert len(asked) == 1


def test_models_health_readiness_and_numbers(both: Both, contract: Contract) -> None:
    assert both.call(contract.url, lambda client: client.models()) == (
        ServedModel(id="tiny", created_s=1700000000), ServedModel(id="other", created_s=1700000000)
    )  # fmt: skip
    assert both.call(contract.url, lambda client: client.health()) == Health(status="live")
    ready = both.call(contract.url, lambda client: client.ready())
    assert ready == Readiness(status="not_ready", checks={"model": Check(ok=False, detail="loading", ms=1.5)})
    assert not ready.ready
    assert both.call(contract.url, lambda client: client.stats()) == {"requests": 3}


# Jobs


def test_a_job_from_submission_to_results(both: Both, contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"abc")
    (tmp_path / "b.wav").write_bytes(b"not audio")
    job = both.call(
        contract.url,
        lambda client: client.submit_batch(
            [tmp_path / "a.wav", tmp_path / "b.wav"], webhook="https://x.example/hook", model="other"
        ),
    )
    assert (job.id, job.state, job.items, job.ended) == ("job1", "queued", 2, False)
    assert (contract.jobs["job1"]["mode"], contract.jobs["job1"]["model"]) == ("job", "other")
    assert (contract.jobs["job1"]["names"], contract.jobs["job1"]["webhook"]) == (
        ["a.wav", "b.wav"], "https://x.example/hook"
    )  # fmt: skip
    done = both.call(contract.url, lambda client: client.wait("job1", poll_s=0.25))
    assert (done.state, done.done, done.ended) == ("done", 2, True)
    assert both.slept_s == [0.25]
    first, second = both.call(contract.url, lambda client: client.results("job1"))
    assert (first.name, first.result.text.split()[1], first.error) == ("a.wav", "3", None)
    assert (second.index, second.result, second.error) == (
        1, None, Problem(code="audio_decode_error", message="no audio")
    )  # fmt: skip


def test_results_come_in_pages_to_the_last(both: Both, contract: Contract) -> None:
    both.call(contract.url, lambda client: client.submit_batch([bytes(size) for size in range(200)]))
    results = both.call(contract.url, lambda client: client.results("job1"))
    assert [result.result.text.split()[1] for result in results] == [str(size) for size in range(200)]


def test_a_submission_sent_twice_is_one_job(both: Both, contract: Contract) -> None:
    """Its key is the same each time, so it may be sent again after a connection that was lost in the middle."""
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            raise httpx.ReadError("lost")
        return httpx.Response(202, json={"job": {"id": "j", "state": "queued", "items": 1}})

    job = both.call("http://host", lambda client: client.submit_batch([b"abc"]), handler=handler)
    assert (job.id, len(keys), len(set(keys))) == ("j", 2, 1)


def test_a_job_is_cancelled_and_waiting_ends(both: Both, contract: Contract) -> None:
    both.call(contract.url, lambda client: client.submit_batch([b"abc"]))
    with pytest.raises(ConnectionLost, match="Job job1 has not ended within 0 s"):
        both.call(contract.url, lambda client: client.wait("job1", timeout_s=0.0))
    assert both.call(contract.url, lambda client: client.cancel("job1")).state == "cancelled"
    with pytest.raises(RequestRefused, match="There is no such job"):
        both.call(contract.url, lambda client: client.job("absent"))
    assert job_call("a/../b?x").path == "/jobs/a%2F..%2Fb%3Fx"
    with pytest.raises(InputError, match="There are no files to submit"):
        both.call(contract.url, lambda client: client.submit_batch([]))


# Trying again


def test_a_busy_server_is_asked_again_when_it_says_and_gets_the_whole_file(
    both: Both, contract: Contract, tmp_path: Path
) -> None:
    (tmp_path / "talk.wav").write_bytes(bytes(70_000))
    contract.refusals = [(503, {"Retry-After": "3"}, ERROR), (429, {"Retry-After": "1"}, ERROR)]
    result = both.call(contract.url, lambda client: client.transcribe(tmp_path / "talk.wav"))
    assert result.text.split()[1] == "70000"
    assert both.slept_s == [3.0, 1.0]


def test_after_the_last_try_the_error_is_raised(both: Both, contract: Contract) -> None:
    contract.refusals = [(503, {"Retry-After": "1"}, ERROR)] * 3
    with pytest.raises(ServerBusy, match="Too much waits") as caught:
        both.call(contract.url, lambda client: client.models(), retries=1)
    assert (both.slept_s, len(contract.refusals)) == ([1.0], 1)
    assert (caught.value.retry_after_s, caught.value.request_id) == (1.0, "r-1")


@pytest.mark.parametrize(("status", "retry_after"), [(500, "1"), (400, "1"), (503, "3600")])
def test_other_refusals_are_raised_at_once(both: Both, contract: Contract, status: int, retry_after: str) -> None:
    contract.refusals = [(status, {"Retry-After": retry_after}, ERROR)]
    with pytest.raises(HarkenError):
        both.call(contract.url, lambda client: client.models())
    assert both.slept_s == []


def test_nobody_at_the_address(both: Both) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServerUnreachable, match=f"No server answers at http://127.0.0.1:{port}") as caught:
        both.call(f"http://127.0.0.1:{port}", lambda client: client.transcribe(b"abc"))
    assert caught.value.exit_code == 5
    assert len(both.slept_s) == 2


def lose(error: type[httpx.TransportError]) -> tuple[Callable[[httpx.Request], httpx.Response], list[str]]:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise error("lost")

    return handler, asked


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadTimeout])
def test_work_that_may_have_begun_is_not_sent_twice(both: Both, error: type[httpx.TransportError]) -> None:
    handler, asked = lose(error)
    with pytest.raises(ConnectionLost):
        both.call("http://host", lambda client: client.transcribe(b"abc"), handler=handler)
    assert asked == ["POST"]
    with pytest.raises(ConnectionLost):
        both.call("http://host", lambda client: client.health(), handler=handler)
    assert asked == ["POST", "GET", "GET", "GET"]


def test_a_server_that_never_answers(both: Both) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConnectionLost, match=r"within 0\.2 s"):
            both.call(url, lambda client: client.transcribe(b"abc"), timeout_s=0.2)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>hello</html>"), (200, b"[]"), (200, b'{"text": 3}'), (200, b'{"text": "a"}'), (204, b""),
     (302, b"")],
)  # fmt: skip
def test_an_answer_of_something_else(both: Both, status: int, body: bytes) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"location": "/login"})

    with pytest.raises(UnexpectedAnswer):
        both.call("http://host", lambda client: client.transcribe(b"abc"), handler=handler)


# Keys


def test_the_key_is_sent_and_its_absence_is_named(both: Both, contract: Contract) -> None:
    contract.key = KEY
    with pytest.raises(AccessRefused, match="There is no valid key") as caught:
        both.call(contract.url, lambda client: client.models())
    assert caught.value.status == 401
    assert len(both.call(contract.url, lambda client: client.models(), api_key=KEY)) == 2


def test_no_repr_log_or_error_has_the_key(both: Both, contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    contract.key = KEY
    caplog.set_level(logging.DEBUG)
    shown = both.call(contract.url, _use_and_show, api_key=KEY) if both.name == "sync" else ""
    fields = {"code": "x", "message": f"bad {KEY}", "hint": KEY, "request_id": KEY}
    contract.refusals = [(403, {}, {"error": fields})]
    with pytest.raises(AccessRefused) as caught:
        both.call(contract.url, lambda client: client.models(), api_key=KEY)
    events = both.call(
        contract.url, lambda client: client.stream(both.audio([bytes(10)]), sample_rate_hz=16_000), api_key=KEY
    )
    assert len(events) == 1
    told = [shown, str(caught.value), repr(caught.value), repr(vars(caught.value)), caplog.text]
    assert [text for text in told if KEY.split("_")[2] in text] == []
    assert "harken" in caplog.text or "httpx" in caplog.text  # something was logged at all


def _use_and_show(client: Any) -> str:
    client.models()
    return repr(client) + str(client)


def test_answers_with_failures_inside_are_errors_of_the_server(both: Both) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, content=json.dumps(ERROR))

    with pytest.raises(ServerFailed) as caught:
        both.call("http://host", lambda client: client.transcribe(b"abc"), handler=handler)
    assert caught.value.request_id == "r-1"


def test_a_refusal_before_the_whole_file_was_sent_is_read(both: Both, tmp_path: Path) -> None:
    """A server that says 413 to the headers and closes: its words come through, not a broken pipe."""
    import threading

    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)

    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            body = json.dumps(ERROR).encode()
            head = f"HTTP/1.1 413 Too Large\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener,))
        thread.start()
        with pytest.raises(RequestRefused, match="Too much waits"):
            both.call(f"http://127.0.0.1:{listener.getsockname()[1]}", lambda client: client.transcribe(path))
        thread.join()


def test_the_contract_and_the_server_agree() -> None:
    """The answer of the tests' server has the fields of the real one."""
    from harken.core import Segment, Transcript
    from harken.serving.contract import Transcription
    from harken.serving.shapes.native import transcription_view

    word = Word(text="a", start_s=0.0, end_s=0.1)
    transcript = Transcript(
        text="a", duration_s=1.0, segments=(Segment(text="a", start_s=0.0, end_s=0.1, words=(word,)),)
    )
    real = transcription_view(Transcription(transcript=transcript, model="m"), request_id="r", word_times=True)
    made = transcription(b"", None, word_times=True, language=None)
    assert {*real} == {*made} - {"new_in_a_later_version"}
    assert {*real["segments"][0]} == {*made["segments"][0]}
