"""Where Harken keeps what outlives a run."""

from pathlib import Path

import pytest

from harken.core.home import home_folder


def test_the_variable_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARKEN_HOME", str(tmp_path / "here"))
    assert home_folder() == tmp_path / "here"


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_home_is_the_users(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("HARKEN_HOME", raising=False)
    else:
        monkeypatch.setenv("HARKEN_HOME", value)
    assert home_folder() == Path.home() / ".harken"
