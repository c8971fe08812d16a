"""What a detector hears of a recording, and that a Whisper says what transformers' own network says."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harken.core import InputError, Waveform
from harken.inference.language_detection import LanguageDetector, WhisperLanguageDetector, first_heard, load_whisper
from harken.inference.routes import RoutedModel
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.models.pretrained import load_pretrained
from harken.models.pretrained_import import save_parts
from harken.testing import random_whisper
from harken.text.whisper_tokenizer import WhisperTokenizer

pytest.importorskip("transformers", reason="needs the extra `train`")
LANGUAGES = ("en", "uz", "ru", "no", "jw")


def save_whisper(folder: Path, **options: Any) -> Any:
    """A model folder of a random Whisper; returns transformers' network of the same weights."""
    network = random_whisper(folder / "hub", **{"init_std": 0.3, "languages": LANGUAGES, **options})
    parts = load_pretrained(folder / "hub")
    save_parts(parts, folder / "model", normalizer="basic")
    return network


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("whisper")
    return folder / "model", save_whisper(folder)


@pytest.fixture(scope="module")
def recognizer(saved: tuple[Path, Any]) -> WhisperRecognizer:
    return load_whisper(RoutedModel(model=saved[0]))


def noise(samples: int, seed: int = 0) -> Waveform:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


# a Whisper


def test_probabilities_are_those_of_the_network(saved: tuple[Path, Any], recognizer: WhisperRecognizer) -> None:
    """A forward pass of transformers, its scores of the language tokens through a softmax of our own."""
    network, tokenizer = saved[1], recognizer.tokenizer
    waveforms = [noise(samples, seed) for seed, samples in enumerate((16_000, 3_000, 24_000, 31_000))]
    found = WhisperLanguageDetector(recognizer, batch_windows=3).detect_batch(waveforms)
    for waveform, row in zip(waveforms, found, strict=True):
        features = torch.from_numpy(recognizer.extractor(waveform[:24_000])[None]).transpose(1, 2)
        with torch.inference_mode():
            start = torch.tensor([[tokenizer.token_id("<|startoftranscript|>")]])
            scores = network(input_features=features, decoder_input_ids=start).logits[0, 0].double().numpy()
        powers = {code: np.exp(scores[tokenizer.token_id(f"<|{code}|>")]) for code in LANGUAGES}
        assert row == pytest.approx({code: power / sum(powers.values()) for code, power in powers.items()}, abs=1e-5)
    assert max(abs(found[0][code] - found[1][code]) for code in LANGUAGES) > 0.001


def test_one_waveform_is_a_batch_of_one(recognizer: WhisperRecognizer) -> None:
    detector = WhisperLanguageDetector(recognizer)
    assert detector.detect(noise(9_000)) == detector.detect_batch([noise(9_000)])[0]
    assert detector.detect_batch([]) == []
    assert detector.sample_rate_hz == 16_000
    assert sorted(detector.languages) == sorted(LANGUAGES)


@pytest.mark.parametrize(
    ("tag", "code"),
    [("uz", "uz"), ("uz-Latn", "uz"), ("UZ_cyrl", "uz"), ("uzb", "uz"), ("nb", "no"), ("jv", "jw"), ("Russian", "ru")],
)
def test_whisper_knows_a_language_by_its_names(recognizer: WhisperRecognizer, tag: str, code: str) -> None:
    assert WhisperLanguageDetector(recognizer).code_of(tag) == code


def test_an_unknown_language_is_refused_with_near_ones(recognizer: WhisperRecognizer) -> None:
    with pytest.raises(InputError, match=r"no token for the language 'rw'; it knows 5\. Close ones: ru"):
        WhisperLanguageDetector(recognizer).code_of("rw")


def test_a_whisper_of_one_language_tells_none(recognizer: WhisperRecognizer) -> None:
    monolingual = WhisperTokenizer(recognizer.tokenizer._backend, multilingual=False)
    recognizer = WhisperRecognizer(recognizer.backend, recognizer.extractor, monolingual)
    with pytest.raises(InputError, match="This Whisper is for English only; it cannot tell languages"):
        WhisperLanguageDetector(recognizer)


def test_a_model_with_a_ctc_output_tells_none(model_folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_whisper(RoutedModel(model=model_folder))
    assert str(caught.value) == (
        f"{model_folder} is of the family recurrent-ctc, which does not tell languages. "
        "Name the folder of a multilingual Whisper."
    )


# any other


class Two(LanguageDetector):
    """The least a detector has to have."""

    sample_rate_hz = 16_000
    languages = ("uz-Latn", "rus")

    def detect(self, waveform: Waveform) -> dict[str, float]:
        return {"uz-Latn": float(waveform[0]), "rus": 1 - float(waveform[0])}


def test_a_detector_of_three_parts() -> None:
    first, second = Two().detect_batch([np.array([0.25, 0], np.float32), np.array([0.75], np.float32)])
    assert (first, second) == ({"uz-Latn": 0.25, "rus": 0.75}, {"uz-Latn": 0.75, "rus": 0.25})
    assert [Two().code_of(tag) for tag in ("uz", "uzb-Cyrl", "ru", "RU_ru")] == ["uz-Latn", "uz-Latn", "rus", "rus"]
    with pytest.raises(InputError, match=r"does not know the language 'kk'\. It knows rus, uz-Latn\."):
        Two().code_of("kk")


# what is heard


def pieces(waveform: Waveform, size: int, taken: list[int] | None = None) -> Iterator[Waveform]:
    for first in range(0, len(waveform), size):
        if taken is not None:
            taken.append(first)
        yield waveform[first : first + size]


@pytest.mark.parametrize("size", [100, 7_777, 10**6])
@pytest.mark.parametrize(("samples", "heard"), [(160, 160), (12_000, 12_000), (240_000, 240_000), (300_000, 240_000)])
def test_the_first_half_minute_is_heard(samples: int, heard: int, size: int) -> None:
    audio = noise(samples)
    found = first_heard(pieces(audio, size), sample_rate_hz=8_000)
    assert found is not None
    np.testing.assert_array_equal(found, audio[:heard])


def test_no_more_is_read_than_is_heard() -> None:
    taken: list[int] = []
    first_heard(pieces(noise(800_000), 8_000, taken), sample_rate_hz=8_000)
    assert taken == list(range(0, 240_000, 8_000))


def test_digital_silence_is_passed_over() -> None:
    audio = np.concatenate([np.zeros(500_000, np.float32), noise(100_000)])
    found = first_heard(pieces(audio, 9_000), sample_rate_hz=8_000)
    assert found is not None
    np.testing.assert_array_equal(found, audio[480_000:])  # the third half minute is the first with sound


@pytest.mark.parametrize("samples", [0, 1, 159, 100_000, 500_000])
def test_nothing_is_heard_in_silence(samples: int) -> None:
    assert first_heard(pieces(np.zeros(samples, np.float32), 9_000), sample_rate_hz=8_000) is None


def test_less_than_a_position_is_not_heard() -> None:
    assert first_heard([noise(159)], sample_rate_hz=8_000) is None
    assert first_heard([noise(160)], sample_rate_hz=8_000) is not None


class Loud:
    """A detector of speech that takes for speech what is louder than 0.5."""

    def start(self) -> int:
        return 0

    def step(self, state: int, window: Waveform) -> tuple[int, float]:
        return state, float(np.abs(window).max() > 0.5)


def test_the_first_speech_is_heard() -> None:
    audio = 0.1 * np.sign(noise(1_600_000, seed=1))
    audio[51_200 * 16 : 51_200 * 16 + 51_200] = 0.9  # 3.2 s, 51.2 s into the audio
    speech: Any = Loud()
    found = first_heard(pieces(audio, 100_000), sample_rate_hz=16_000, speech=speech)
    assert found is not None
    padded = found[480:-480]  # 30 ms on both sides
    assert len(padded) == 51_200
    assert (padded == np.float32(0.9)).all()
    assert first_heard([audio[:160_000]], sample_rate_hz=16_000, speech=speech) is None


def test_speech_is_found_at_one_rate_only() -> None:
    speech: Any = Loud()
    with pytest.raises(ValueError, match="sample_rate_hz is 8000; speech is found at 16000 Hz"):
        first_heard([noise(100)], sample_rate_hz=8_000, speech=speech)


def test_no_torch_is_needed_to_import() -> None:
    code = "import sys, harken.inference.routing; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
