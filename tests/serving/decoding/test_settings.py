"""Settings of decoding say what is wrong with them."""

from typing import Any

import pytest

from harken.core import parse_settings
from harken.serving.decoding.settings import DecodeSettings, UploadLimits


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("max_waiting", -1), ("shortest_s", -1.0), ("time_limit_s", 0.0), ("memory_bytes", 1)],
)
def test_wrong_values_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; use "):
        DecodeSettings(**{name: value})


def test_setting_one_limit_keeps_the_others_of_a_server() -> None:
    settings = parse_settings(DecodeSettings, {"limits": {"max_duration_s": 600}}, source="test")
    assert settings.limits == UploadLimits(max_duration_s=600.0)
    assert (settings.limits.max_channels, settings.limits.min_sample_rate_hz) == (16, 4_000)
