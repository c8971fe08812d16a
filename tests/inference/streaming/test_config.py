"""Settings of a stream are checked when they are made: numbers, and what does nothing with a policy."""

from math import inf, nan

import pytest

from harken.core import InputError
from harken.inference.streaming.config import (
    AgreementConfig,
    EndpointConfig,
    FixedConfig,
    StreamingConfig,
    WindowConfig,
    chunk_samples,
)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (EndpointConfig, ("pause_s", "silence_s", "longest_s", "breath_s", "speech_threshold")),
        (WindowConfig, ("left_s", "chunk_s", "right_s", "horizon_s")),
        (FixedConfig, ("window_s", "overlap_s")),
        (AgreementConfig, ("every_s", "longest_s", "reset_s")),
    ],
)
@pytest.mark.parametrize("value", [nan, inf, -inf, -1.0])
def test_wrong_numbers_are_refused(kind: type, names: tuple[str, ...], value: float) -> None:
    for name in names:
        with pytest.raises(ValueError, match=f"{name} is {value}; use"):
            kind(**{name: value})


def test_what_may_be_0_or_absent() -> None:
    with pytest.raises(ValueError, match="pause_s is 0; use seconds above 0"):
        EndpointConfig(pause_s=0)
    with pytest.raises(ValueError, match="horizon_s is 0; use seconds above 0"):
        WindowConfig(horizon_s=0)
    assert WindowConfig(left_s=0, right_s=0).left_s == 0
    assert EndpointConfig(pause_s=None, silence_s=None, longest_s=None).pause_s is None


@pytest.mark.parametrize("chunk_s", [nan, inf, -inf, 0.0, -0.05, 0.00001, 1e300])
def test_a_chunk_is_a_sample_at_least(chunk_s: float) -> None:
    assert chunk_samples(1 / 8000, sample_rate_hz=8_000) == 1
    with pytest.raises(InputError, match="chunk_s is "):
        chunk_samples(chunk_s, sample_rate_hz=8_000)


@pytest.mark.parametrize(
    ("policy", "endpoint", "name"),
    [
        ("fixed", {"pause_s": 3.0}, "endpoint.pause_s"),
        ("fixed", {"source": "vad"}, "endpoint.source"),
        ("fixed", {"longest_s": None}, "endpoint.longest_s"),
        ("local-agreement", {"silence_s": 2.0}, "endpoint.silence_s"),
        ("local-agreement", {"longest_s": 30.0}, "endpoint.longest_s"),
        ("local-agreement", {"breath_s": 0.1}, "endpoint.breath_s"),
    ],
)
def test_endpoint_settings_that_do_nothing_are_refused(policy: str, endpoint: dict[str, object], name: str) -> None:
    given = EndpointConfig(**endpoint)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"policy is {policy}; {name} does nothing with it"):
        StreamingConfig(policy=policy, endpoint=given)  # type: ignore[arg-type]
    for other in ("auto", "cached", "windowed"):
        assert StreamingConfig(policy=other, endpoint=given).endpoint == given  # type: ignore[arg-type]


def test_endpoint_settings_that_do_something_are_taken() -> None:
    endpoint = EndpointConfig(source="vad", pause_s=3.0, speech_threshold=0.7)
    assert StreamingConfig(policy="local-agreement", endpoint=endpoint).endpoint == endpoint
    assert StreamingConfig(policy="fixed", endpoint=EndpointConfig()).policy == "fixed"
