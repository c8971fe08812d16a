"""Stored files behave the same in a folder and in a bucket."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.services import create_bucket, running_s3

from harken.core import InputError, MissingPart
from harken.storage.blobs import BlobStore

ABSENT = "sha256/" + "00/" + "0" * 62


@pytest.fixture
def store(blob_url: str) -> BlobStore:
    return BlobStore.open(blob_url)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content", [b"", b"some audio", bytes(range(256)) * (21 << 12) + b"end"], ids=["empty", "small", "big"]
)
def test_a_file_comes_back_byte_for_byte(store: BlobStore, tmp_path: Path, content: bytes) -> None:
    key = store.put_file(write(tmp_path / "in.wav", content))
    digest = hashlib.sha256(content).hexdigest()
    assert key == f"sha256/{digest[:2]}/{digest[2:]}"
    assert store.exists(key)
    store.get_to(key, tmp_path / "out" / "file.wav")
    assert (tmp_path / "out" / "file.wav").read_bytes() == content
    assert b"".join(store.open_bytes(key)) == content


def test_equal_content_is_one_file_and_may_be_deleted_twice(store: BlobStore, tmp_path: Path) -> None:
    first = store.put_file(write(tmp_path / "a.wav", b"same"))
    assert store.put_file(write(tmp_path / "b.wav", b"same")) == first
    store.delete(first)
    store.delete(first)
    assert not store.exists(first)


def test_an_absent_key_is_an_input_error_and_leaves_no_file(store: BlobStore, tmp_path: Path) -> None:
    assert not store.exists(ABSENT)
    with pytest.raises(InputError, match="has no sha256/00"):
        store.open_bytes(ABSENT)
    with pytest.raises(InputError, match="has no sha256/00"):
        store.get_to(ABSENT, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", "sha256/../../x", "sha256/AB/" + "0" * 62, ABSENT + "\n", ABSENT + "/x"]
)
def test_only_keys_of_the_store_are_taken(store: BlobStore, tmp_path: Path, key: str) -> None:
    for use in (store.exists, store.open_bytes, store.delete, lambda name: store.get_to(name, tmp_path / "out")):
        with pytest.raises(InputError, match="is not a key"):
            use(key)


def test_an_absent_file_is_an_input_error(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.wav cannot be read"):
        store.put_file(tmp_path / "none.wav")


def test_old_files_are_removed_and_what_is_stored_again_is_young(store: BlobStore, tmp_path: Path) -> None:
    old = store.put_file(write(tmp_path / "a", b"old"))
    again = store.put_file(write(tmp_path / "b", b"again"))
    time.sleep(1.2)  # the clock of S3 counts whole seconds
    store.put_file(write(tmp_path / "b", b"again"))
    assert store.delete_older(1000) == 0
    assert store.delete_older(1) == 1
    assert (store.exists(old), store.exists(again)) == (False, True)
    assert store.delete_older(-2) == 1
    assert store.delete_older(-2) == 0


def test_a_store_that_is_there_answers(store: BlobStore) -> None:
    store.ping(5.0)


def test_a_big_file_does_not_pass_through_memory(blob_url: str, tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom harken.storage.blobs import BlobStore\n"
        "store = BlobStore.open(sys.argv[1])\nfolder = Path(sys.argv[2])\n"
        "(folder / 'small').write_bytes(b'x')\nstore.get_to(store.put_file(folder / 'small'), folder / 'out')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "store.get_to(store.put_file(folder / 'big'), folder / 'out')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    with open(tmp_path / "big", "wb") as file:
        file.truncate(120 << 20)
    done = subprocess.run(
        [sys.executable, "-c", code, blob_url, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").stat().st_size == 120 << 20
    assert int(done.stdout) < 60 << 10  # KiB


def test_uploads_that_were_killed_are_swept_from_a_folder(tmp_path: Path) -> None:
    store = BlobStore.open((tmp_path / "store").as_uri())
    key = store.put_file(write(tmp_path / "a", b"kept"))
    staged = tmp_path / "store" / f"{key}#1"
    staged.write_bytes(b"half")
    other = staged.with_name("notes.txt")
    other.write_bytes(b"not ours")
    for path in (staged, other, tmp_path / "store" / key):
        os.utime(path, (1e9, 1e9))
    assert store.delete_older(60) == 1
    assert [path.name for path in staged.parent.iterdir()] == ["notes.txt"]


def test_a_folder_that_goes_away_is_a_missing_part(tmp_path: Path) -> None:
    store = BlobStore.open((tmp_path / "my store").as_uri())
    assert (tmp_path / "my store").is_dir()
    (tmp_path / "my store").rmdir()
    with pytest.raises(MissingPart, match="my store is not there"):
        store.ping(1.0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://u:hunter2@h/x", "use file:///FOLDER"),
        ("/just/a/path", "use file:///FOLDER"),
        ("file://host/folder", "names another machine"),
    ],
)
def test_urls_that_are_not_taken(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        BlobStore.open(url)
    assert "hunter2" not in str(refused.value)


def test_an_option_that_the_store_does_not_know_is_an_input_error() -> None:
    with pytest.raises(InputError, match="cannot be used"):
        BlobStore.open("s3://bucket/x", region="us-east-1", colour="blue")


def test_a_folder_that_cannot_be_made_is_a_missing_part(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingPart, match="cannot be made"):
        BlobStore.open((tmp_path / "file" / "store").as_uri())


@pytest.mark.service
def test_a_bucket_that_is_absent_is_a_missing_part(s3_endpoint: str, tmp_path: Path) -> None:
    store = open_bucket("s3://no-such-bucket/x", s3_endpoint)
    with pytest.raises(MissingPart, match="s3://no-such-bucket/x"):
        store.ping(5.0)
    with pytest.raises(MissingPart, match="s3://no-such-bucket/x"):
        store.put_file(write(tmp_path / "a", b"a"))


@pytest.mark.service
def test_a_server_that_stops_is_reported_in_time(tmp_path: Path) -> None:
    with running_s3() as service:
        store = open_bucket(create_bucket(service.url), service.url)
        store.ping(5.0)
        service.stop()
        began = time.monotonic()
        with pytest.raises(MissingPart, match=r"s3://test-"):
            store.ping(3.0)
        with pytest.raises(MissingPart, match=r"s3://test-"):
            store.put_file(write(tmp_path / "a", b"a"))
        assert time.monotonic() - began < 10
        assert [thread.name for thread in threading.enumerate() if thread.name == "probe"] == []


def open_bucket(url: str, endpoint: str) -> BlobStore:
    return BlobStore.open(
        url, endpoint=endpoint, access_key_id="harken", secret_access_key="secret", region="us-east-1"
    )
