"""Long work ends soon after nobody wants it any more, whatever recognizes."""

import time
from pathlib import Path

import numpy as np
import pytest

from harken.core import Recognizer, Waveform
from harken.core.stopping import Stopped, stop_checks
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.routes import RoutedModel, RoutesConfig
from harken.inference.routing import LanguageRouter
from harken.inference.torch_engine import make_recognizer
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.models.pretrained import load_pretrained
from harken.testing import random_whisper

RATE = 16_000


class StopAfter:
    """Stops the work at the n-th question."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped("Nobody waits.")


def noise(seconds: float) -> Waveform:
    return (0.2 * np.random.default_rng(2).standard_normal(int(RATE * seconds))).astype(np.float32)


def stops(recognizer: Recognizer, *waveforms: Waveform, questions: int) -> None:
    check = StopAfter(questions)
    with pytest.raises(Stopped), stop_checks(check):
        recognizer.transcribe_batch(waveforms)
    assert check.left < 0


def test_a_ctc_model_asks_between_windows_and_between_batches(recognizer: CtcRecognizer) -> None:
    long = np.tile(noise(10.0), 360)  # an hour
    began = time.monotonic()
    stops(recognizer, long, questions=3)
    assert time.monotonic() - began < 6.0  # most of it to look at all samples once
    stops(recognizer, *[noise(20.0)] * 4, questions=2)


def test_threads_of_a_ctc_model_ask_too(recognizer: CtcRecognizer) -> None:
    parallel = CtcRecognizer(
        recognizer.scorer,
        features=recognizer.extractor.config,
        tokenizer=recognizer.tokenizer,
        subsampling=round(recognizer.frame_s / recognizer.extractor.hop_s),
        config=EngineConfig(device="cpu", batch_s=10.0),
        parallel=2,
    )
    waveforms = [noise(5.0 + number) for number in range(6)]
    expected = [transcript.text for transcript in recognizer.transcribe_batch(waveforms)]
    assert [transcript.text for transcript in parallel.transcribe_batch(waveforms)] == expected
    stops(parallel, *waveforms, questions=1)


def test_a_whisper_asks_between_tokens(tmp_path: Path) -> None:
    random_whisper(tmp_path, times_s=1.5, seed=1, init_std=0.15)
    parts = load_pretrained(tmp_path)
    for beam_size in (1, 3):
        decoding = WhisperDecodingConfig(temperatures=(0.0,), beam_size=beam_size, language="en")
        config = EngineConfig(device="cpu", whisper=decoding)
        whisper = make_recognizer(parts.model, features=parts.features, tokenizer=parts.tokenizer, config=config)
        window_s = whisper.window_s  # type: ignore[attr-defined]
        assert window_s == 1.5
        stops(whisper, noise(1.0), questions=5)  # the windows, the round and the first tokens of one window


def test_a_decoder_is_exchanged_around_the_same_network(recognizer: CtcRecognizer) -> None:
    silent = recognizer.with_decoder(lambda log_probs_TV: [])
    assert silent.scorer is recognizer.scorer
    assert silent.window_s == recognizer.window_s == 30.0
    assert recognizer.transcribe(noise(2.0)).text
    assert silent.transcribe(noise(2.0)).text == ""
    restored = silent.with_decoder(recognizer.decoder)
    assert restored.transcribe(noise(40.0)) == recognizer.transcribe(noise(40.0))


def test_a_router_that_is_told_detects_nothing(model_folder: Path, recognizer: CtcRecognizer) -> None:
    class Deaf:
        sample_rate_hz = RATE
        languages = ("en", "uz")

        def code_of(self, language: str) -> str:
            return language

        def detect_batch(self, waveforms: object) -> object:
            raise AssertionError("it was asked")

    model = RoutedModel(model=model_folder, settings=EngineConfig(device="cpu"))
    router = LanguageRouter(RoutesConfig(routes={"en": model}), detector=Deaf())  # type: ignore[arg-type]
    told = router.told("en")
    assert isinstance(told, Recognizer)
    waveforms = [noise(2.0), noise(1.0)]
    expected = [transcript.text for transcript in recognizer.transcribe_batch(waveforms)]
    assert [transcript.text for transcript in told.transcribe_batch(waveforms)] == expected
    assert told.transcribe(waveforms[0]).language == "en"
    with pytest.raises(Exception, match="no route for uz; the routes are for en"):
        router.told("uz")
