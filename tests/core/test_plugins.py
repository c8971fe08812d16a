"""Lookup by entry points, with real distributions made for the test on a path of its own."""

from pathlib import Path

import pytest

from harken.core import InputError, MissingPart, load_plugin, plugin_names

GROUP = "harken_test_group"


def _install(folder: Path, package: str, entries: str) -> None:
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_names_are_sorted(site: Path) -> None:
    _install(site, "one", "b = math:floor\na = math:ceil")
    assert plugin_names(GROUP) == ["a", "b"]


def test_the_object_is_loaded(site: Path) -> None:
    import math

    _install(site, "one", "up = math:ceil")
    assert load_plugin(GROUP, "up") is math.ceil


def test_an_unknown_name_says_what_there_is(site: Path) -> None:
    _install(site, "one", "b = math:floor\na = math:ceil")
    with pytest.raises(MissingPart) as caught:
        load_plugin(GROUP, "c")
    assert str(caught.value) == f"There is no {GROUP} called 'c'. Installed: a, b."


def test_an_empty_group_says_so() -> None:
    assert plugin_names("harken_nothing_here") == []
    with pytest.raises(MissingPart, match="Installed: none"):
        load_plugin("harken_nothing_here", "x")


def test_two_packages_with_one_name_are_refused(site: Path) -> None:
    _install(site, "one", "up = math:ceil")
    _install(site, "two", "up = math:floor")
    with pytest.raises(InputError) as caught:
        load_plugin(GROUP, "up")
    assert "registered 2 times" in str(caught.value)
    assert "Keep one of: one, two." in str(caught.value)


def test_two_installs_of_the_same_object_are_one(site: Path) -> None:
    import math

    _install(site, "one", "up = math:ceil")
    _install(site, "one_editable", "up = math:ceil")
    assert load_plugin(GROUP, "up") is math.ceil


def test_a_broken_plugin_shows_its_own_error(site: Path) -> None:
    (site / "harken_test_broken.py").write_text("raise RuntimeError('my own trouble')\n", encoding="utf-8")
    _install(site, "one", "bad = harken_test_broken:thing\nabsent = harken_test_nowhere:thing")
    with pytest.raises(RuntimeError, match="my own trouble"):
        load_plugin(GROUP, "bad")
    with pytest.raises(ModuleNotFoundError, match="harken_test_nowhere"):
        load_plugin(GROUP, "absent")


def test_looking_up_names_imports_nothing(site: Path) -> None:
    _install(site, "one", "bad = harken_test_nowhere:thing")
    assert plugin_names(GROUP) == ["bad"]
