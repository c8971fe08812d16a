"""Files that are wholly there or not there, also when the process is killed while it writes."""

import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harken.core.files import fsync_folder, md5_file, replacing, sha256_file, write_json, write_text


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _write_and_fail(path: Path, trouble: type[BaseException]) -> None:
    with replacing(path) as file:
        file.write(b"half of the new")
        raise trouble


@pytest.mark.parametrize("size", [0, 1, 1_000_003])
def test_hashes_are_those_of_the_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(index % 251 for index in range(size))
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    assert sha256_file(path) == hashlib.sha256(content).hexdigest()
    assert md5_file(path) == hashlib.md5(content).hexdigest()


def test_published_hashes_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert sha256_file(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert md5_file(path) == "d41d8cd98f00b204e9800998ecf8427e"


def test_text_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    write_text(path, "one\n")
    write_text(path, "two\nо‘zbek\n")
    assert path.read_bytes() == "two\nо‘zbek\n".encode()
    assert _names(path.parent) == ["a.txt"]


def test_json_is_for_people_and_machines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": ["ў", None]})
    assert path.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": [\n    "ў",\n    null\n  ]\n}\n'
    assert json.loads(path.read_text(encoding="utf-8")) == {"b": 1, "a": ["ў", None]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": {1, 2}}])
def test_what_json_cannot_say_is_refused_and_the_old_file_stays(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"new": value})
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": 1}
    assert _names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path, trouble: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(trouble):
        _write_and_fail(path, trouble)
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


def test_a_failure_of_a_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _write_and_fail(tmp_path / "a.bin", RuntimeError)
    assert _names(tmp_path) == []


def test_until_the_end_readers_see_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path, "w") as file:
        file.write("new")
        file.flush()
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"


def test_two_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path, "w") as one, replacing(path, "w") as two:
        one.write("one " * 1000)
        two.write("two " * 1000)
    assert path.read_text(encoding="utf-8") in {"one " * 1000, "two " * 1000}
    assert _names(tmp_path) == ["a.txt"]


def test_a_kill_while_writing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom harken.core.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout:
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
        assert writer.wait(timeout=10) == -signal.SIGKILL
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": 1}
    left = [name for name in _names(tmp_path) if name != "a.json"]
    assert len(left) == 1  # a killed process cannot tidy up: what it leaves is hidden and never read
    assert left[0].startswith(".a.json.")
    assert left[0].endswith(".tmp")
    write_json(path, {"new": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"new": 2}


def test_kills_at_any_moment_leave_one_whole_version(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, [0] * 50_000)
    code = (
        "import sys\nfrom pathlib import Path\nfrom harken.core.files import write_json\n"
        "print('go', flush=True)\nfor n in range(10**6):\n    write_json(Path(sys.argv[1]), [n] * 50_000)\n"
    )
    for delay_s in (0.01, 0.023, 0.04, 0.081):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        with writer.stdout:
            assert writer.stdout.readline() == "go\n"
            time.sleep(delay_s)
            writer.kill()
            writer.wait(timeout=10)
        numbers = json.loads(path.read_text(encoding="utf-8"))
        assert len(numbers) == 50_000
        assert len(set(numbers)) == 1


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


def test_a_folder_that_is_not_there_cannot_be_synced_and_that_is_fine(tmp_path: Path) -> None:
    fsync_folder(tmp_path)
    fsync_folder(tmp_path / "absent")


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_drive_without_that_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("os.fsync", refuse)
    with contextlib.nullcontext() if passes else pytest.raises(OSError, match="no"):
        fsync_folder(tmp_path)
