"""Only model folders that the operator allows, however they are written."""

from pathlib import Path

import pytest

from harken.core import InputError
from harken.http.errors import NotAllowed
from harken.serving.served.folders import allowed_folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two allowed folders, with a model in each, and one outside."""
    for name in ("a/one", "b/two", "outside/three"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "harken.json").write_text("{}")
    return tmp_path


def allowed(place: Path, path: str) -> Path:
    return allowed_folder(path, (place / "a", place / "b"))


def test_absolute_and_relative_paths_inside(place: Path) -> None:
    assert allowed(place, str(place / "a" / "one")) == place / "a" / "one"
    assert allowed(place, "two") == place / "b" / "two"
    assert allowed(place, "../b/two") == place / "b" / "two"
    assert allowed(place, "./one/../one/") == place / "a" / "one"
    assert allowed(place, "absent") == place / "a" / "absent"


@pytest.mark.parametrize(
    "path", ["../outside/three", "/", "/etc/passwd", "..", "../ab", "one/../../outside/three", "../../../../etc"]
)
def test_paths_that_lead_out(place: Path, path: str) -> None:
    (place / "ab").mkdir()  # whose name begins like that of an allowed one
    with pytest.raises(NotAllowed, match="is not inside the folders"):
        allowed(place, path)
    with pytest.raises(NotAllowed, match="is not inside the folders"):
        allowed(place, str(place / "a" / path))


def test_links_that_lead_out(place: Path) -> None:
    (place / "a" / "link").symlink_to(place / "outside" / "three")
    with pytest.raises(NotAllowed, match="link is not inside"):
        allowed(place, "link")
    (place / "a" / "deep" / "er").mkdir(parents=True)
    (place / "a" / "deep" / "er" / "model.safetensors").symlink_to(place / "outside" / "three" / "harken.json")
    with pytest.raises(NotAllowed, match="deep is not inside"):
        allowed(place, "deep")
    (place / "a" / "round").symlink_to(place / "a" / "round")
    with pytest.raises(InputError, match="none that a folder can have"):
        allowed(place, "round")


def test_links_between_allowed_folders(place: Path) -> None:
    (place / "a" / "link").symlink_to(place / "b" / "two")
    assert allowed(place, "link") == place / "b" / "two"
    linked = place / "linked"
    linked.symlink_to(place / "a")
    assert allowed_folder(str(linked / "one"), (linked,)) == place / "a" / "one"
    (place / "a" / "one" / "weights").symlink_to(place / "b" / "two" / "harken.json")
    assert allowed(place, "one") == place / "a" / "one"
    with pytest.raises(NotAllowed):
        allowed_folder("one", (place / "a",))


def test_without_folders_nothing_is_allowed(place: Path) -> None:
    with pytest.raises(NotAllowed, match="not exchanged from outside"):
        allowed_folder(str(place / "a" / "one"), ())


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_what_is_no_path(place: Path, path: str) -> None:
    with pytest.raises(InputError):
        allowed(place, path)
