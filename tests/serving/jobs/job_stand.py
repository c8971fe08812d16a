"""A server that takes batches, for three owners, and what stands behind it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from tests.serving.route_server import SECRET, FakeService, Stand

from harken.core import RunFailed
from harken.http.errors import RateExceeded
from harken.http.keys import KeyRecord, hash_secret
from harken.http.outbound import Outbound, OutboundSettings
from harken.serving.contract import Priority, TranscribeOptions, Transcription
from harken.serving.decoding.errors import DamagedAudio
from harken.serving.jobs.routes import router
from harken.serving.jobs.settings import JobSettings, WebhookSettings
from harken.serving.jobs.work import KIND
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
            charge=charge, audit=parts.audit, metrics=parts.metrics,
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


def files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{number}.wav", content)) for number, content in enumerate(contents)]


def submit(client: httpx.Client, *contents: bytes, headers: Mapping[str, str] | None = None, **data: str) -> str:
    answer = client.post("/transcribe/batch", files=files(*contents), data={"mode": "job", **data}, headers=headers)
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["job"]["id"]
    assert answer.headers["location"] == f"/jobs/{job}"
    return job
