"""Settings of decoding say what is wrong with them."""

from typing import Any

import pytest

from harken.serving.decoding.settings import DecodeSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("max_waiting", -1), ("shortest_s", -1.0), ("time_limit_s", 0.0), ("memory_bytes", 1)],
)
def test_wrong_values_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; use "):
        DecodeSettings(**{name: value})
