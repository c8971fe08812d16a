"""Settings of engines are checked when they are made."""

from math import inf, nan

import pytest

from harken.core import InputError
from harken.inference.config import EngineConfig, refuse_seq2seq_settings
from harken.inference.whisper.config import WhisperDecodingConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_s": 0}, "batch_s is 0; use seconds above 0"),
        ({"window_s": -1.0}, r"window_s is -1\.0; use seconds above 0"),
        ({"longest_s": 0}, "longest_s is 0; use seconds above 0"),
        ({"context_s": 15.0, "window_s": 30.0}, r"context_s is 15\.0; use 0 to less than half of window_s \(30\)"),
        ({"context_s": 10.0}, r"context_s is 10\.0; use 0 to less than half of window_s \(20\)"),
        ({"context_s": -1.0}, r"context_s is -1\.0"),
        *(({name: nan}, f"{name} is nan") for name in ("batch_s", "window_s", "context_s", "longest_s")),
        *(({name: inf}, f"{name} is inf") for name in ("batch_s", "window_s", "context_s", "longest_s")),
        ({"threads": 0}, "threads is 0; use 1 or more"),
        ({"parallel": 0}, "parallel is 0; use 1 or more"),
        (
            {"language": "uz", "whisper": WhisperDecodingConfig(multilingual=True)},
            "language is uz but whisper.multilingual is set; use one of the two",
        ),
    ],
)
def test_wrong_numbers(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineConfig(**settings)  # type: ignore[arg-type]


def test_a_batch_is_larger_on_a_gpu_unless_it_is_given() -> None:
    config = EngineConfig()
    assert (config.at_once_s(on_cpu=True), config.at_once_s(on_cpu=False)) == (30.0, 240.0)
    assert EngineConfig(batch_s=7.5).at_once_s(on_cpu=False) == 7.5


@pytest.mark.parametrize(
    ("batch_s", "window_s", "windows"), [(None, 30.0, 8), (59.0, 30.0, 1), (5.0, 30.0, 1), (60.0, None, 1)]
)
def test_windows_in_one_pass(batch_s: float | None, window_s: float | None, windows: int) -> None:
    assert EngineConfig(batch_s=batch_s).windows_at_once(window_s) == windows


def test_what_a_ctc_model_cannot_be_told() -> None:
    refuse_seq2seq_settings(EngineConfig())
    with pytest.raises(InputError, match="language is 'uz', which this model cannot be told: it has a CTC output"):
        refuse_seq2seq_settings(EngineConfig(language="uz"))
    with pytest.raises(InputError, match="task is 'translate'"):
        refuse_seq2seq_settings(EngineConfig(task="translate"))
