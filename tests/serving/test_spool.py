"""Folders of uploads: gone with their process, also with one that was killed; never somebody else's."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harken.core import MissingPart
from harken.serving.spool import PREFIX, remove_leftovers, spool_folder

HOLD = """
import sys, time
from pathlib import Path
from harken.serving.spool import spool_folder
with spool_folder(Path(sys.argv[1])) as folder:
    (folder / "upload").write_text("half")
    print(folder, flush=True)
    time.sleep(60)
"""


def holder(parent: Path) -> "tuple[subprocess.Popen[str], Path]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with spool_folder(tmp_path / "new" / "parent") as folder:
        assert folder.parent == tmp_path / "new" / "parent"
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("x")
    assert list((tmp_path / "new" / "parent").iterdir()) == []


def test_two_at_a_time_keep_their_own(tmp_path: Path) -> None:
    with spool_folder(tmp_path) as first, spool_folder(tmp_path) as second:
        assert first != second
        assert remove_leftovers(tmp_path) == []
        assert first.is_dir()
        assert second.is_dir()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    dead, left = holder(tmp_path)
    living, kept = holder(tmp_path)
    end(dead)
    assert (left / "upload").exists()
    with spool_folder(tmp_path) as mine:
        assert not left.exists()
        assert (kept / "upload").read_text() == "half"
        assert sorted(tmp_path.iterdir()) == sorted([kept, mine])
    end(living)
    assert remove_leftovers(tmp_path) == [kept]


def test_what_is_only_named_so_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / ".lock").write_text("")
    (precious / "thesis").write_text("x")
    (tmp_path / f"{PREFIX}link-ready").symlink_to(precious)
    (tmp_path / f"{PREFIX}file-ready").write_text("x")
    (tmp_path / f"{PREFIX}unlocked-ready").mkdir()  # without a lock it is no server's
    (tmp_path / f"{PREFIX}new").mkdir()  # another process is just making it
    before = sorted(tmp_path.iterdir())
    assert remove_leftovers(tmp_path) == []
    assert sorted(tmp_path.iterdir()) == before
    assert (precious / "thesis").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MissingPart, match=r"file/x, cannot be used: .*Set spool to another"),
        spool_folder(tmp_path / "file" / "x"),
    ):
        pass


def test_a_machine_without_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", none)
    with (
        pytest.raises(MissingPart, match=r"no temporary folder .* Set spool to a folder .* TMPDIR"),
        spool_folder(None),
    ):
        pass
