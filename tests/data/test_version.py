import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from harken.core import InputError, Utterance
from harken.data.manifest import write_manifest
from harken.data.version import read_version, verify_version, version_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """train (3 utterances on 2 files) and val (1 utterance), files with plain bytes."""
    folder = tmp_path / "set"
    (folder / "audio").mkdir(parents=True)
    for name in "abc":
        (folder / "audio" / f"{name}.wav").write_bytes(name.encode() * 1000)

    def utterance(name: str, file: str, **fields: float) -> Utterance:
        return Utterance(id=name, audio=str(folder / "audio" / file), duration_s=2.0, text=name, **fields)  # type: ignore[arg-type]

    write_manifest(
        folder / "train.jsonl",
        [utterance("1", "a.wav"), utterance("2", "a.wav", offset_s=2.0), utterance("3", "b.wav")],
    )
    write_manifest(folder / "val.jsonl", [utterance("4", "c.wav")])
    return folder


def lock(folder: Path) -> Path:
    version_dataset("demo", "v1", {"train": folder / "train.jsonl", "val": folder / "val.jsonl"}, folder / "lock.json")
    return folder / "lock.json"


def test_hashes_are_those_of_hashlib(dataset: Path) -> None:
    record = version_dataset(
        "demo", "v1", {"train": dataset / "train.jsonl"}, dataset / "lock.json", metadata={"train": 3}
    )
    a, b = (hashlib.sha256(name * 1000).hexdigest() for name in (b"a", b"b"))
    assert record.files == {"audio/a.wav": {"sha256": a, "bytes": 1000}, "audio/b.wav": {"sha256": b, "bytes": 1000}}
    assert record.audio_sha256 == hashlib.sha256("".join(f"{line}\n" for line in sorted([a, b])).encode()).hexdigest()
    train = record.manifests["train"]
    assert train.md5 == hashlib.md5((dataset / "train.jsonl").read_bytes()).hexdigest()
    assert (train.path, train.utterances, train.duration_s) == ("train.jsonl", 3, 6.0)
    assert json.loads((dataset / "lock.json").read_text())["metadata"] == {"train": 3}
    assert read_version(dataset / "lock.json") == record


def test_an_untouched_set_verifies_after_being_moved(dataset: Path, tmp_path: Path) -> None:
    lock(dataset)
    moved = tmp_path / "elsewhere"
    shutil.move(dataset, moved)
    check = verify_version(moved / "lock.json")
    assert check.ok
    assert (check.added, check.missing, check.changed, check.manifests) == ((), (), (), ())


def test_order_and_place_do_not_change_the_identity(dataset: Path, tmp_path: Path) -> None:
    before = read_version(lock(dataset))
    other = tmp_path / "copy"
    shutil.copytree(dataset, other)
    lines = (other / "train.jsonl").read_text().splitlines(keepends=True)
    (other / "train.jsonl").write_text("".join(reversed(lines)))
    after = read_version(lock(other))
    assert (after.content_sha256, after.audio_sha256) == (before.content_sha256, before.audio_sha256)
    assert after.manifests["train"].md5 != before.manifests["train"].md5
    (other / "train.jsonl").write_text("".join(lines).replace('"text": "1"', '"text": "one"'))
    changed = read_version(lock(other))
    assert changed.content_sha256 != before.content_sha256
    assert changed.audio_sha256 == before.audio_sha256


def test_every_kind_of_change_is_told(dataset: Path) -> None:
    path = lock(dataset)
    (dataset / "audio" / "a.wav").write_bytes(b"a" * 999 + b"!")
    (dataset / "audio" / "b.wav").unlink()
    (dataset / "audio" / "d.wav").write_bytes(b"d")
    write_manifest(dataset / "val.jsonl", [Utterance(id="5", audio=str(dataset / "audio" / "d.wav"), duration_s=1.0)])
    check = verify_version(path)
    assert not check.ok
    assert (check.added, check.missing, check.changed) == (("audio/d.wav",), ("audio/b.wav",), ("audio/a.wav",))
    assert [(entry.item, entry.reason) for entry in check.manifests] == [
        ("val", f"{dataset / 'val.jsonl'} has changed")
    ]
    (dataset / "val.jsonl").unlink()
    (dataset / "train.jsonl").write_text("?")
    reasons = [entry.reason for entry in verify_version(path).manifests]
    assert reasons[0] == f"{dataset / 'train.jsonl'} has changed"
    assert "not JSON" in reasons[1]
    assert reasons[2] == f"{dataset / 'val.jsonl'} is missing"


def test_shards_are_hashed_and_urls_are_listed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w"):
        pass
    items = [
        Utterance(id="a", audio=f"tar:{tmp_path}/0.tar!a.wav", duration_s=1.0),
        Utterance(id="b", audio=f"tar:{tmp_path}/0.tar!b.wav", duration_s=1.0),
        Utterance(id="c", audio="s3://bucket/c.wav", duration_s=1.0),
    ]
    write_manifest(tmp_path / "m.jsonl", items)
    record = version_dataset("x", "1", {"all": tmp_path / "m.jsonl"}, tmp_path / "lock.json")
    assert list(record.files) == ["0.tar"]
    assert record.remote == ("s3://bucket/c.wav",)
    assert verify_version(tmp_path / "lock.json").ok


def test_missing_audio_and_missing_names_are_refused(dataset: Path) -> None:
    (dataset / "audio" / "b.wav").unlink()
    with pytest.raises(InputError, match=r"1 audio files are missing, such as .*b\.wav"):
        lock(dataset)
    assert not (dataset / "lock.json").exists()
    with pytest.raises(InputError, match="needs a name"):
        version_dataset("", "1", {"val": dataset / "val.jsonl"}, dataset / "lock.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "manifests": {"a": 3}}'])
def test_a_broken_lock_is_an_input_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock.json").write_text(content)
    with pytest.raises(InputError, match=r"lock\.json"):
        verify_version(tmp_path / "lock.json")
    with pytest.raises(InputError, match="does not exist"):
        verify_version(tmp_path / "none.json")
