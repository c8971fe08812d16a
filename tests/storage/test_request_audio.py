"""Kept audio behaves the same in a folder and in a bucket, and never meets the files of jobs."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from harken.core import InputError
from harken.storage.blobs import BlobStore
from harken.storage.request_audio import RequestAudio, RequestFacts


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def blobs(blob_url: str) -> BlobStore:
    return BlobStore.open(blob_url)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(blobs: BlobStore, clock: Clock) -> RequestAudio:
    return RequestAudio(blobs.objects, clock=clock)


def facts(request_id: str, at_s: float = Clock.now_s, text: str | None = None) -> RequestFacts:
    return RequestFacts(
        request_id=request_id,
        principal="key:ann",
        route="/transcribe",
        model="digits",
        duration_s=1.5,
        media_type="audio/wav",
        at_s=at_s,
        text=text,
    )


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_bytes_and_facts_come_back(store: RequestAudio, tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    kept = store.put(write(tmp_path / "a", content), facts("r.1-x_", text="salom, dunyo"), keep_s=60)
    assert store.find("r.1-x_") == [kept]
    assert kept.facts == facts("r.1-x_", text="salom, dunyo")
    assert (kept.size_bytes, kept.expires_s) == (len(content), 1_000_060)
    assert kept.sha256 == hashlib.sha256(content).hexdigest()
    assert b"".join(store.open_bytes("r.1-x_", kept.name) or ()) == content
    assert store.open_bytes("r.1-x_", "0" * 16) is None
    assert store.open_bytes("r.1-x_", "../x") is None
    assert store.find("r.1-x") == []


def test_requests_of_equal_ids_stand_beside_each_other(store: RequestAudio, tmp_path: Path) -> None:
    first = store.put(write(tmp_path / "a", b"one"), facts("same"), keep_s=60)
    second = store.put(write(tmp_path / "b", b"two"), facts("same", at_s=Clock.now_s + 1), keep_s=60)
    other = store.put(write(tmp_path / "c", b"three"), facts("other"), keep_s=60)
    assert store.find("same") == [first, second]
    assert b"".join(store.open_bytes("same", first.name) or ()) == b"one"
    assert store.open_bytes("other", first.name) is None
    assert store.delete("same") == 2
    assert store.delete("same") == 0
    assert store.find("same") == []
    assert store.find("other") == [other]


def test_requests_that_share_a_folder_do_not_share_files(store: RequestAudio, tmp_path: Path) -> None:
    def folder(request_id: str) -> str:
        return hashlib.sha256(request_id.encode()).hexdigest()[:3]

    other = next(name for name in map("r{}".format, range(100_000)) if folder(name) == folder("r") and name != "r")
    mine = store.put(write(tmp_path / "a", b"mine"), facts("r"), keep_s=60)
    kept = store.put(write(tmp_path / "b", b"other"), facts(other), keep_s=60)
    assert store.find("r") == [mine]
    assert store.open_bytes("r", kept.name) is None
    assert store.delete("r") == 1
    assert store.find(other) == [kept]


def test_what_has_expired_is_neither_shown_nor_left(store: RequestAudio, clock: Clock, tmp_path: Path) -> None:
    short = store.put(write(tmp_path / "a", b"short"), facts("short"), keep_s=60)
    store.put(write(tmp_path / "b", b"long"), facts("long"), keep_s=600)
    assert store.delete_expired() == 0
    clock.now_s += 61
    assert store.find("short") == []
    assert store.open_bytes("short", short.name) is None
    assert store.delete_expired() == 1
    clock.now_s -= 61
    assert store.find("short") == []
    assert len(store.find("long")) == 1
    assert [item.key for item in store._objects.listed("requests/") if "short" in item.key] == []


def test_a_shorter_time_counts_for_what_is_there(store: RequestAudio, clock: Clock, tmp_path: Path) -> None:
    clock.now_s = time.time()
    store.put(write(tmp_path / "a", b"long"), facts("long", at_s=clock.now_s), keep_s=6_000)
    assert store.delete_expired(3_000) == 0
    clock.now_s += 3_010
    assert store.delete_expired(4_000) == 0
    assert store.delete_expired() == 0
    assert store.delete_expired(3_000) == 1
    assert store.find("long") == []


def test_files_of_jobs_and_of_requests_have_their_own_lifetimes(
    blobs: BlobStore, store: RequestAudio, clock: Clock, tmp_path: Path
) -> None:
    path = write(tmp_path / "a", b"the same audio")
    key = blobs.put_file(path)
    store.put(path, facts("r"), keep_s=60)
    clock.now_s += 61
    assert store.delete_expired(1e-9) == 1
    assert blobs.exists(key)
    clock.now_s -= 61
    kept = store.put(path, facts("r"), keep_s=60)
    assert blobs.delete_older(-100) == 1
    assert not blobs.exists(key)
    assert store.find("r") == [kept]


@pytest.mark.parametrize("request_id", ["", "../x", "a/b", "a" * 65, "x\n", "é"])
def test_only_ids_of_requests_are_taken(store: RequestAudio, tmp_path: Path, request_id: str) -> None:
    with pytest.raises(InputError, match="is not the id of a request"):
        store.find(request_id)
    with pytest.raises(InputError, match="is not the id of a request"):
        store.delete(request_id)
    with pytest.raises(InputError, match="is not the id of a request"):
        store.put(write(tmp_path / "a", b"x"), facts(request_id), keep_s=60)


def test_what_a_killed_upload_left_goes_with_its_request_or_its_time(tmp_path: Path) -> None:
    clock = Clock()
    store = RequestAudio(BlobStore.open((tmp_path / "store").as_uri()).objects, clock=clock)
    for request_id in ("one", "two"):
        store.put(write(tmp_path / "a", b"x"), facts(request_id), keep_s=60)
    for path in list((tmp_path / "store").glob("requests/*/*.audio")):
        path.rename(f"{path}#1")
    (tmp_path / "store" / "requests" / "notes#1").write_text("not ours")
    assert store.find("one") == []
    store.delete("one")
    assert [path.name[:4] for path in (tmp_path / "store").glob("requests/*/*")] == ["two."] * 2
    clock.now_s += 61
    store.delete_expired()
    assert list((tmp_path / "store").glob("requests/*/*")) == []
    assert (tmp_path / "store" / "requests" / "notes#1").exists()


def test_facts_of_a_later_version_are_read(tmp_path: Path) -> None:
    store = RequestAudio(BlobStore.open((tmp_path / "store").as_uri()).objects, clock=Clock())
    kept = store.put(write(tmp_path / "a", b"x"), facts("r"), keep_s=60)
    (path,) = (tmp_path / "store").glob("requests/*/*.json")
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "later": 1, "facts": {**data["facts"], "later": 2}}))
    assert store.find("r") == [kept]
