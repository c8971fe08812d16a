"""Batches over HTTP: at once or as jobs, whose they are, what is refused, what stays behind."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.serving import route_server
from tests.serving.route_server import RESULT, SECRET, FakeService, Stand

from harken.core import RunFailed
from harken.http.bodies import BodySettings
from harken.http.errors import RateExceeded
from harken.http.keys import KeyRecord, hash_secret
from harken.http.limits import LimitSettings
from harken.http.outbound import Outbound, OutboundSettings
from harken.serving.contract import Priority, TranscribeOptions, Transcription
from harken.serving.decoding.errors import DamagedAudio
from harken.serving.jobs.routes import router
from harken.serving.jobs.settings import JobSettings, WebhookSettings
from harken.serving.jobs.work import KIND, file_work
from harken.serving.jobs.worker import JobWorker
from harken.serving.served.settings import ModelsSettings, ServedModel
from harken.serving.settings import ServeSettings
from harken.storage.blobs import BlobStore
from harken.storage.database import Database
from harken.storage.jobs import JobQueue

ANN, BOB, ADMIN, OTHER = ({"Authorization": f"Bearer hk_{name}_{SECRET}"} for name in ("ann", "bob", "adm", "oth"))
SCOPES = {"ann": ("batch",), "bob": ("batch",), "adm": ("batch", "admin"), "oth": ("transcribe",)}
SIGNED = WebhookSettings(secret="s" * 32)


class Keys:
    def __init__(self, _scopes: tuple[str, ...]) -> None: ...

    def find(self, key_id: str) -> KeyRecord | None:
        if key_id not in SCOPES:
            return None
        secret = hash_secret(SECRET)
        return KeyRecord(id=key_id, name=key_id, secret_hash=secret, scopes=SCOPES[key_id], created_s=0.0)

    def has_any(self) -> bool:
        return True

    def mark_used(self, key_id: str, at_s: float) -> None: ...


class Answers(FakeService):
    """Fails on what some files hold."""

    async def transcribe(
        self, audio: Path, options: TranscribeOptions, *, priority: Priority = Priority.REQUEST, **more: Any
    ) -> Transcription:
        content = audio.read_bytes()
        if content == b"damaged":
            self.paths.append(audio)
            raise DamagedAudio("The audio is damaged.", hint="Send another.")
        if content == b"breaks":
            raise RunFailed("cannot read /srv/secret/model.onnx")
        if content == b"unforeseen":
            raise ZeroDivisionError("secret detail")
        if content == b"over":
            raise RateExceeded("The day's audio is used up.", hint="Come tomorrow.", retry_after_s=9)
        return await super().transcribe(audio, options, priority=priority, **more)


@dataclasses.dataclass
class JobStand(Stand):
    jobs: JobSettings = dataclasses.field(default_factory=lambda: JobSettings(sync_files=4, sync_bytes=1000))
    webhooks: WebhookSettings = dataclasses.field(default_factory=WebhookSettings)

    def app(self) -> FastAPI:
        app = super().app()
        self.database = Database.open(f"sqlite:///{self.spool.parent}/jobs.db")
        self.queue = JobQueue(self.database)
        self.blobs = BlobStore.open((self.spool.parent / "store").as_uri())

        async def resolve(host: str, port: int) -> Sequence[str]:
            return ["93.184.216.34"] if host == "hooks.test" else ["10.0.0.7"]

        async def charge(*_: Any) -> None: ...

        parts = app.state.server
        worker = JobWorker(
            queue=self.queue, blobs=self.blobs, service=self.service, spool=self.spool, settings=self.jobs,
            charge=charge, audit=parts.audit,
        )  # fmt: skip
        models = ModelsSettings(models=(ServedModel(path=Path("/m/digits")),))
        app.state.server = dataclasses.replace(
            parts,
            settings=ServeSettings(models=models, jobs=self.jobs, webhooks=self.webhooks),
            queue=self.queue, blobs=self.blobs, outbound=Outbound(OutboundSettings(), resolve=resolve), worker=worker,
        )  # fmt: skip
        app.include_router(router)
        return app

    def work(self, results: Mapping[int, str | None]) -> None:
        """Ends files as a worker would: with a text, or with an error."""
        for position, text in results.items():
            claim = self.queue.claim("w", [KIND], lease_s=60)
            assert claim is not None
            assert claim.position == position
            if text is None:
                self.queue.fail(claim, {"code": "damaged_audio", "message": "Bad.", "hint": ""}, retry_in_s=None)
            else:
                self.queue.complete(claim, {"text": text})

    def kept(self) -> list[Path]:
        return [path for path in (self.spool.parent / "store").rglob("*") if path.is_file()]


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStand]:
    monkeypatch.setattr(route_server, "OneKey", Keys)
    spool = tmp_path / "spool"
    spool.mkdir()
    made = JobStand(spool=spool, service=Answers())
    yield made
    assert made.left_over() == []
    made.database.close()


@pytest.fixture
def client(stand: JobStand) -> Iterator[httpx.Client]:
    with stand.running() as url, httpx.Client(base_url=url, headers=ANN, timeout=20) as opened:
        yield opened


def files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{number}.wav", content)) for number, content in enumerate(contents)]


def submit(client: httpx.Client, *contents: bytes, headers: Mapping[str, str] | None = None, **data: str) -> str:
    answer = client.post("/transcribe/batch", files=files(*contents), data={"mode": "job", **data}, headers=headers)
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["job"]["id"]
    assert answer.headers["location"] == f"/jobs/{job}"
    return job


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


def test_a_job_is_followed_to_its_results(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, b"a", b"bb", b"ccc", language_hint="en", word_times="true")
    assert sorted(path.read_bytes() for path in stand.kept()) == [b"a", b"bb", b"ccc"]
    told = client.get(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["items"], told["queued"], told["finished_s"]) == ("queued", 3, 3, None)
    stand.work({0: "one", 1: None})
    told = client.get(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["done"], told["failed"], told["queued"]) == ("running", 1, 1, 1)
    found = client.get(f"/jobs/{job}/results").json()["results"]
    assert [(item["state"], item["result"], item["error"]) for item in found] == [
        ("done", {"text": "one"}, None),
        ("failed", None, {"code": "damaged_audio", "message": "Bad.", "hint": ""}),
        ("queued", None, None),
    ]
    stand.work({2: "three"})
    told = client.get(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["finished_s"] is not None) == ("done", True)
    assert "payload" not in told
    [row] = stand.rows
    assert (row.status, row.details["job"], row.audio_s, row.principal) == (202, job, None, "key:ann")


def test_what_a_worker_reads_is_what_was_asked(client: httpx.Client, stand: JobStand) -> None:
    submit(client, b"a", language_hint="en", hotwords="x,y", temperature="0.5", word_times="true")
    claim = stand.queue.claim("w", [KIND], lease_s=60)
    assert claim is not None
    work = file_work(claim)
    assert work.options == TranscribeOptions(language="en", hotwords=("x", "y"), temperature=0.5)
    assert (work.word_times, work.principal.id, work.name) == (True, "key:ann", "0.wav")


def test_results_come_in_pages(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, *[b"%d" % number for number in range(5)])
    stand.work({number: f"text {number}" for number in range(5)})
    page = client.get(f"/jobs/{job}/results", params={"offset": 3, "limit": 1}).json()["results"]
    assert [(item["index"], item["result"]["text"]) for item in page] == [(3, "text 3")]
    assert client.get(f"/jobs/{job}/results", params={"offset": 5}).json() == {"results": []}
    for bad in ({"offset": -1}, {"limit": 0}, {"limit": 1001}, {"offset": "x"}):
        assert client.get(f"/jobs/{job}/results", params=bad).status_code == 400


def test_a_job_is_its_owners_and_the_administrators(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, b"a", b"b")
    for method, path in (("GET", ""), ("GET", "/results"), ("DELETE", "")):
        refused = client.request(method, f"/jobs/{job}{path}", headers=BOB)
        absent = client.request(method, f"/jobs/{'0' * 32}{path}", headers=BOB)
        assert refused.status_code == absent.status_code == 404
        told = [answer.json()["error"]["message"] for answer in (refused, absent)]
        assert told[0] == told[1]
        assert client.request(method, f"/jobs/{job}{path}", headers=OTHER).status_code == 403
        assert client.request(method, f"/jobs/{job}{path}", headers={"Authorization": ""}).status_code == 401
    assert stand.queue.depth().queued == 2
    assert client.get(f"/jobs/{job}", headers=ADMIN).status_code == 200


@pytest.mark.parametrize("name", ["%2e%2e", "%00", "a-b", "a" * 5000, "%F0%9F%98%80", "'; DROP TABLE jobs"])
def test_what_is_no_id_is_no_job(client: httpx.Client, name: str) -> None:
    assert client.get(f"/jobs/{name}").status_code == 404


def test_a_cancelled_job_keeps_what_is_done_and_cancels_once(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, b"a", b"b", b"c")
    stand.work({0: "one"})
    told = client.delete(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["done"], told["cancelled"]) == ("cancelled", 1, 2)
    assert client.delete(f"/jobs/{job}").json()["job"] == told
    found = client.get(f"/jobs/{job}/results").json()["results"]
    assert [(item["state"], item["result"]) for item in found] == [
        ("done", {"text": "one"}), ("cancelled", None), ("cancelled", None)
    ]  # fmt: skip
    assert stand.queue.claim("w", [KIND], lease_s=60) is None


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
