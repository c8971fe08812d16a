"""Where a command may write: answered before the work, without a trace."""

import os
from pathlib import Path

import pytest

from harken.cli.folders import check_output_file, check_output_folder, refuse_own_manifest
from harken.core import InputError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file and a folder in it."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [".", "folder", "new", "new/deep", "folder/new"])
def test_folders_that_will_do(place: Path, name: str) -> None:
    check_output_folder(Path(name))
    check_output_folder(place / name)
    check_output_file(Path(name) / "x.json")
    assert sorted(path.name for path in place.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("name", ["file", "file/new", "file/new/deep"])
def test_a_file_in_the_way(place: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_output_folder(Path(name))
    assert str(caught.value) == f"--out is {name}, and file is a file. Name another folder."
    with pytest.raises(InputError) as caught:
        check_output_file(Path(name) / "x", option="--table")
    assert str(caught.value) == f"--table is {name}/x, and file is a file. Name another file."


def test_a_folder_in_the_place_of_a_file(place: Path) -> None:
    check_output_file(Path("file"))
    with pytest.raises(InputError, match=r"^--out is folder, and folder is a folder\. Name another file\.$"):
        check_output_file(Path("folder"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(place: Path) -> None:
    (place / "folder").chmod(0o555)
    with pytest.raises(InputError, match=r"^--out is folder/new, and folder cannot be written to\."):
        check_output_folder(Path("folder/new"))


def test_the_manifest_that_is_read_stays(place: Path) -> None:
    refuse_own_manifest(Path("file"), Path("new"))
    refuse_own_manifest(Path("file"), Path("folder"))
    (place / "link").symlink_to("file")
    for target in ("file", "link", "folder/../file"):
        with pytest.raises(InputError, match=r"^file is the manifest that would be written\."):
            refuse_own_manifest(Path("file"), Path(target))
