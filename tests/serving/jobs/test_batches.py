"""Batches over HTTP: at once or as jobs, what is refused, what stays behind."""

from pathlib import Path

import httpx
import pytest
from tests.serving.jobs.job_stand import ANN, BOB, OTHER, SIGNED, JobStand, files, submit
from tests.serving.route_server import RESULT

from harken.http.bodies import BodySettings
from harken.http.limits import LimitSettings
from harken.serving.contract import TranscribeOptions
from harken.serving.jobs.settings import JobSettings
from harken.serving.jobs.work import KIND, file_work


def test_few_small_files_are_answered_at_once_in_their_order(client: httpx.Client, stand: JobStand) -> None:
    answer = client.post("/transcribe/batch", files=files(b"a", b"bb"), data={"hotwords": "Ann", "word_times": "true"})
    assert answer.status_code == 200
    found = answer.json()["results"]
    assert [(item["index"], item["name"], item["state"]) for item in found] == [
        (0, "0.wav", "done"),
        (1, "1.wav", "done"),
    ]
    assert [item["result"]["text"] for item in found] == ["one two drei"] * 2
    assert [word["text"] for word in found[0]["result"]["words"]] == ["one", "two", "drei"]
    assert sorted(content for content, _ in stand.service.calls) == [b"a", b"bb"]
    assert stand.service.options.hotwords == ("Ann",)
    assert stand.queue.depth().queued == 0
    [row] = stand.rows
    assert (row.principal, row.route, row.status, row.audio_s) == ("key:ann", "/transcribe/batch", 200, 4.5)
    assert (row.text, row.details["files"]) == ("one two drei\none two drei", "2")


def test_bad_files_do_not_stop_the_good_ones_and_tell_nothing_of_ours(client: httpx.Client) -> None:
    answer = client.post("/transcribe/batch", files=files(b"damaged", b"good", b"breaks", b"unforeseen"))
    assert answer.status_code == 200
    found = answer.json()["results"]
    assert [item["state"] for item in found] == ["failed", "done", "failed", "failed"]
    assert found[0]["error"] == {"code": "damaged_audio", "message": "The audio is damaged.", "hint": "Send another."}
    assert [found[number]["error"]["code"] for number in (2, 3)] == ["run_failed", "internal_error"]
    assert "secret" not in answer.text


def test_a_day_that_is_used_up_is_an_error_of_its_file(client: httpx.Client) -> None:
    found = client.post("/transcribe/batch", files=files(b"over", b"good")).json()["results"]
    assert [item["state"] for item in found] == ["failed", "done"]
    assert found[0]["error"]["code"] == "rate_exceeded"


@pytest.mark.parametrize(
    ("contents", "data", "status"),
    [
        ([b"a"] * 4, {}, 200),
        ([b"a"] * 5, {}, 202),
        ([b"a" * 500, b"b" * 501], {}, 202),
        ([b"a"], {"mode": "job"}, 202),
        ([b"a"] * 4, {"mode": "now"}, 200),
        ([b"a"] * 5, {"mode": "now"}, 400),
        ([b"a" * 1001], {"mode": "now"}, 400),
        ([b"a"], {"mode": "later"}, 400),
        ([b"a"], {"unknown": "x"}, 400),
        ([b"a"], {"model": "absent"}, 404),
        ([b"a"], {"language_hint": "not a language!"}, 400),
        ([], {"mode": "job"}, 400),
    ],
)
def test_how_much_is_answered_at_once(
    client: httpx.Client, stand: JobStand, contents: list[bytes], data: dict[str, str], status: int
) -> None:
    answer = client.post("/transcribe/batch", files=files(*contents) or [("x", (None, b""))], data=data)
    assert answer.status_code == status, answer.text
    assert stand.queue.depth().queued == (len(contents) if status == 202 else 0)
    if status >= 400:
        assert set(answer.json()["error"]) == {"code", "message", "hint", "request_id"}
        assert stand.kept() == []


def test_more_files_than_one_batch_may_have(stand: JobStand) -> None:
    stand.jobs = JobSettings(most_files=9)
    with stand.running() as url:
        answer = httpx.post(f"{url}/transcribe/batch", files=files(*[b"a"] * 10), headers=ANN)
    assert answer.status_code in (400, 413)
    assert stand.queue.depth().queued == 0


def test_what_a_worker_reads_is_what_was_asked(client: httpx.Client, stand: JobStand) -> None:
    submit(client, b"a", language_hint="en", hotwords="x,y", temperature="0.5", word_times="true")
    claim = stand.queue.claim("w", [KIND], lease_s=60)
    assert claim is not None
    work = file_work(claim)
    assert work.options == TranscribeOptions(language="en", hotwords=("x", "y"), temperature=0.5)
    assert (work.word_times, work.principal.id, work.name) == (True, "key:ann", "0.wav")


def test_the_same_key_is_the_same_job_for_the_same_owner(client: httpx.Client, stand: JobStand) -> None:
    key = {"Idempotency-Key": "k1"}
    job = submit(client, b"a", headers=key)
    assert submit(client, b"a", headers=key) == job
    assert submit(client, b"a", headers=BOB | key) != job
    assert submit(client, b"a", headers={"Idempotency-Key": "k2"}) != job
    assert stand.queue.depth().queued == 3
    asked = client.post("/transcribe/batch", files=files(b"a"), headers=key)  # auto, and small: a job all the same
    assert (asked.status_code, asked.json()["job"]["id"]) == (202, job)
    for bad in ("", "x" * 201):
        refused = client.post("/transcribe/batch", files=files(b"a"), headers={"Idempotency-Key": bad})
        assert refused.status_code == 400
    now = client.post("/transcribe/batch", files=files(b"a"), data={"mode": "now"}, headers=key)
    assert now.status_code == 400


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\calls\\a.wav", "a.wav"),
        ("a\r\nSet-Cookie: x=1.wav", None),
        ("привет.wav", "привет.wav"),
        ("x" * 1000, "x" * 200),
    ],
)
def test_names_of_files_are_for_showing_only(
    client: httpx.Client, stand: JobStand, tmp_path: Path, name: str, shown: str | None
) -> None:
    answer = client.post("/transcribe/batch", files=[("files", (name, b"a"))])
    assert answer.status_code == 200
    told = answer.json()["results"][0]["name"]
    assert told == shown or (shown is None and "\n" not in told and "\r" not in told)
    assert "set-cookie" not in answer.headers
    assert [path.parent for path in stand.service.paths] == [stand.spool]
    assert all(path.name.isalnum() and len(path.name) == 32 for path in stand.service.paths)


def test_webhooks_are_checked_before_anything_is_kept(stand: JobStand) -> None:
    stand.webhooks = SIGNED
    bad = [
        "http://hooks.test/x", "https://inside.test/x", "https://127.0.0.1/", "https://[::1]/", "ftp://hooks.test/",
        "https://u:p@hooks.test/", "nonsense", "https://169.254.169.254/latest/meta-data",
    ]  # fmt: skip
    with stand.running() as url, httpx.Client(base_url=url, headers=ANN) as client:
        for address in bad:
            answer = client.post("/transcribe/batch", files=files(b"a"), data={"webhook": address})
            assert answer.status_code == 400, address
            assert answer.json()["error"]["code"] == "refused_address"
        assert (stand.kept(), stand.queue.depth().queued) == ([], 0)
        told = client.post("/transcribe/batch", files=files(b"a"), data={"webhook": "https://hooks.test/x"})
        assert told.status_code == 202  # whoever wants to be told wants a job
        now = {"webhook": "https://hooks.test/x", "mode": "now"}
        assert client.post("/transcribe/batch", files=files(b"a"), data=now).status_code == 400


def test_a_server_without_a_secret_sends_no_webhooks(client: httpx.Client) -> None:
    answer = client.post("/transcribe/batch", files=files(b"a"), data={"webhook": "https://hooks.test/x"})
    assert answer.status_code == 400
    assert "webhooks.secret" in answer.json()["error"]["hint"]


def test_who_may_not_send_batches_is_not_read(client: httpx.Client, stand: JobStand) -> None:
    assert client.post("/transcribe/batch", files=files(b"a"), headers=OTHER).status_code == 403
    assert client.post("/transcribe/batch", files=files(b"a"), headers={"Authorization": "x"}).status_code == 401
    assert stand.service.calls == []


def test_a_body_above_the_limit_is_refused_while_it_is_read(stand: JobStand) -> None:
    stand.bodies = BodySettings(max_bytes=10_000)
    stand.limits = LimitSettings(rate=None)
    with stand.running() as url:
        answer = httpx.post(f"{url}/transcribe/batch", files=files(b"a" * 20_000), headers=ANN)
    assert answer.status_code == 413
    assert stand.kept() == []


def test_the_quota_is_charged_for_every_file(stand: JobStand) -> None:
    stand.limits = LimitSettings(rate=None, audio_s_per_day=5)
    with stand.running() as url:
        found = httpx.post(f"{url}/transcribe/batch", files=files(b"a", b"b", b"c"), headers=ANN).json()["results"]
    assert RESULT.transcript.duration_s == 2.25
    assert sorted(item["state"] for item in found) == ["done", "done", "failed"]
