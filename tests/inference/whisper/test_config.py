"""Settings that make no sense are refused with the value and a way out."""

from typing import Any

import pytest

from harken.core import InputError, parse_settings
from harken.inference.config import EngineConfig
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.settings import decoding_settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size is 0; use 1 or more"),
        ({"best_of": 0}, "best_of is 0; use 1 or more"),
        ({"max_repeats": 0}, "max_repeats is 0; use 1 or more"),
        ({"temperatures": ()}, "temperatures is"),
        ({"temperatures": (0.0, 2.5)}, "use one or more numbers from 0 to 2"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram is -1"),
        ({"no_speech_threshold": 1.5}, "no_speech_threshold is 1.5; use a probability"),
        ({"min_average_log_prob": 0.5}, "min_average_log_prob is 0.5; use 0 or less"),
        ({"max_compression_ratio": 0}, "max_compression_ratio is 0"),
        ({"max_initial_timestamp_s": -1}, "max_initial_timestamp_s is -1"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"multilingual": True, "language": "uz"}, "multilingual is set but language is uz"),
        ({"condition_on_previous": True, "long_form": "vad"}, "condition_on_previous is set but long_form is vad"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WhisperDecodingConfig(**options)


def test_unknown_keys_are_named() -> None:
    with pytest.raises(InputError, match="beam is not a setting; did you mean 'beam_size'"):
        parse_settings(WhisperDecodingConfig, {"beam": 3}, source="settings")
    parsed = parse_settings(WhisperDecodingConfig, {"temperatures": [0, 0.5], "beam_size": "2"}, source="settings")
    assert parsed == WhisperDecodingConfig(temperatures=(0.0, 0.5), beam_size=2)


def test_the_engine_speaks_before_the_settings_and_these_before_the_model() -> None:
    generation = {"language": "<|uz|>", "task": "translate"}
    own = decoding_settings(WhisperDecodingConfig(), EngineConfig(), generation)
    assert (own.language, own.task) == ("uz", "translate")
    settings = WhisperDecodingConfig(language="ru", task="transcribe", beam_size=2)
    told = decoding_settings(settings, EngineConfig(), generation)
    assert (told.language, told.task, told.beam_size) == ("ru", "transcribe", 2)
    engine = decoding_settings(settings, EngineConfig(language="en", task="translate"), generation)
    assert (engine.language, engine.task) == ("en", "translate")
    several = decoding_settings(WhisperDecodingConfig(multilingual=True), EngineConfig(), generation)
    assert several.language is None
    assert decoding_settings(WhisperDecodingConfig(), EngineConfig(), {}).task == "transcribe"
