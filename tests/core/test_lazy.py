"""Names arrive when they are asked for, once, from where they are said to be."""

import sys
from pathlib import Path

import pytest

from harken.core.lazy import lazy_names


def test_a_name_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shop"
    (package / "back").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from harken.core.lazy import lazy_names\n__getattr__ = lazy_names(__name__, {'milk': 'back.fridge'})\n"
    )
    (package / "back" / "__init__.py").write_text("")
    (package / "back" / "fridge.py").write_text("milk = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import shop  # type: ignore[import-not-found]

    assert "shop.back" not in sys.modules
    milk = shop.milk
    assert milk is sys.modules["shop.back.fridge"].milk
    assert vars(shop)["milk"] is milk
    with pytest.raises(AttributeError, match="module 'shop' has no attribute 'bread'"):
        _ = shop.bread


def test_names_of_no_package() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        lazy_names("harken.core", {})("nothing")
