"""Evaluation under conditions, with a recognizer whose mistakes are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harken.audio.noise import generate_noise
from harken.audio.quality import measure_quality
from harken.core import InputError, Transcript, Utterance, Waveform, keyed_generator
from harken.evaluation import evaluate
from harken.evaluation.conditions import apply_condition, find_conditions
from harken.evaluation.evaluate import evaluate_recognizer
from harken.evaluation.recognition import RecognitionConfig
from harken.evaluation.report import ReportConfig, build_report
from harken.text.languages import LanguageIdentifier

RATE_HZ = 16_000
WORDS = "one two three four"


class LevelRecognizer:
    """Hears its four words, less one for each loud sample at the very end of the waveform: noise makes it deaf."""

    sample_rate_hz = RATE_HZ

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        assert isinstance(audio, np.ndarray)
        quiet = bool(np.abs(audio[-400:]).max() < 1e-3)
        return Transcript(text=WORDS if quiet else "one two", duration_s=len(audio) / RATE_HZ)

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        return [self.transcribe(waveform) for waveform in waveforms]


def load(utterance: Utterance) -> Waveform:
    """A second of speech-like noise with a silent end."""
    waveform = 0.1 * generate_noise(
        RATE_HZ, "pink", sample_rate_hz=RATE_HZ, generator=keyed_generator("test", utterance.id)
    )
    waveform[-8_000:] = 0
    return waveform / np.abs(waveform).max() * np.float32(0.3)


UTTERANCES = [
    Utterance(id=f"u{n}", audio=f"/{n}.wav", duration_s=1.0, text=WORDS, speaker=f"s{n % 8}") for n in range(16)
]


@pytest.fixture(scope="module")
def report():
    return evaluate_recognizer(
        LevelRecognizer(),
        UTTERANCES,
        load,
        conditions=find_conditions("clean,noise-10db,clipping"),
        recognition=RecognitionConfig(batch_size=4, latency_utterances=2),
        report=ReportConfig(samples=100),
    )


def test_a_row_for_every_condition_compared_with_the_first(report) -> None:
    table = report.summary["conditions"]
    assert list(table) == ["clean", "noise-10db", "clipping"]
    assert [row["wer"]["value"] for row in table.values()] == [0.0, 0.5, 0.0]
    assert table["clean"]["difference"] is None
    assert table["noise-10db"]["difference"]["value"] == 0.5
    assert table["noise-10db"]["difference"]["p_value"] == 2**-7  # all of 8 speakers worse: 2 of 2 ** 8 swaps
    assert table["clipping"]["difference"]["p_value"] == 1.0
    assert table["noise-10db"]["condition"]["noise"]["snr_db"] == [10.0, 10.0]
    assert (report.summary["wer"]["value"], report.summary["deletions"]) == (0.0, 0)


def test_few_speakers_are_not_drawn_where_no_p_value_could_be_small() -> None:
    few = [replace(u, speaker=f"s{n % 3}", recording=f"r{n}") for n, u in enumerate(UTTERANCES)]
    found = evaluate_recognizer(LevelRecognizer(), few, load, conditions=find_conditions("clean,noise-10db"))
    difference = found.summary["conditions"]["noise-10db"]["difference"]
    assert (difference["unit"], difference["units"]) == ("recording", 16)
    assert difference["p_value"] == 1 / 10_001  # of 10,000 random swaps none; the speakers' p could not be below 0.25


def test_every_further_condition_has_a_report_of_its_own(report) -> None:
    assert list(report.conditions) == ["noise-10db", "clipping"]
    noisy = report.conditions["noise-10db"]
    assert noisy.summary["wer"]["value"] == 0.5
    assert [row["hypothesis"] for row in noisy.rows] == ["one two"] * 16
    assert list(noisy.summary["conditions"]) == ["noise-10db"]
    assert noisy.summary["conditions"]["noise-10db"]["difference"]["value"] == 0.5


def test_the_ratio_of_the_recordings_is_measured_once_and_stands_in_every_row(report) -> None:
    clean = [row["snr_db"] for row in report.rows]
    assert all(isinstance(value, float) or value is None for value in clean)
    assert [row["snr_db"] for row in report.conditions["noise-10db"].rows] == clean


def test_an_utterance_is_measured_and_the_words_are_labelled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    trained: list[list[str]] = []
    train = LanguageIdentifier.train
    monkeypatch.setattr(evaluate, "measure_quality", lambda w, **k: measured.append(len(w)) or measure_quality(w, **k))
    monkeypatch.setattr(LanguageIdentifier, "train", lambda texts: trained.append(sorted(texts)) or train(texts))
    labelled = [replace(u, extra={"word_languages": ["en", "en", "uz", "uz"]}) for u in UTTERANCES[:8]]
    found = evaluate_recognizer(
        LevelRecognizer(),
        labelled,
        load,
        conditions=find_conditions("clean,noise-10db,clipping"),
        recognition=RecognitionConfig(batch_size=4, latency_utterances=8, warm_up=3),
        report=ReportConfig(samples=10),
    )
    assert len(measured) == 8
    assert trained == [["en", "uz"]]
    assert found.summary["code_switching"]["switch_points"]["0"]["f1"] == 1.0
    noisy = found.conditions["noise-10db"]
    assert noisy.summary["code_switching"]["languages"]["uz"]["deletions"] == 16  # "three four" of each
    alone = build_report(
        labelled, {row["id"]: row["hypothesis"] for row in noisy.rows}, config=ReportConfig(samples=10)
    )
    assert noisy.summary["code_switching"] == alone.summary["code_switching"]


def test_labels_that_do_not_fit_are_refused_before_any_work() -> None:
    wrong = [replace(UTTERANCES[0], extra={"word_languages": ["en"]})]
    with pytest.raises(InputError, match=r"'u0'.* has 1 labels and the text 4 words"):
        evaluate_recognizer(LevelRecognizer(), wrong, lambda _: pytest.fail("it was read"))


def test_what_was_heard_is_the_condition_keyed_by_utterance_and_seed() -> None:
    heard: dict[str, Waveform] = {}

    class Listening(LevelRecognizer):
        def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
            heard["noise"] = waveforms[0]
            return super().transcribe_batch(waveforms)

    (noise,) = find_conditions("noise-5db")
    evaluate_recognizer(
        Listening(),
        UTTERANCES[:1],
        load,
        conditions=[noise],
        recognition=RecognitionConfig(latency_utterances=0, warm_up=0),
        report=ReportConfig(seed=7, samples=10),
    )
    wanted = apply_condition(load(UTTERANCES[0]), noise, sample_rate_hz=RATE_HZ, utterance_id="u0", seed=7)
    assert np.array_equal(heard["noise"], wanted)


def test_progress_names_the_condition() -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate_recognizer(
        LevelRecognizer(),
        UTTERANCES[:2],
        load,
        conditions=find_conditions("clean,clipping"),
        recognition=RecognitionConfig(latency_utterances=0),
        report=ReportConfig(samples=10),
        progress=lambda *state: seen.append(state),
    )
    assert seen == [("clean", 2, 2), ("clipping", 2, 2)]


def test_conditions_have_to_be_some_and_different() -> None:
    for conditions in ([], [*find_conditions("clean"), *find_conditions("clean")]):
        with pytest.raises(InputError, match="empty or name one twice"):
            evaluate_recognizer(LevelRecognizer(), UTTERANCES, load, conditions=conditions)
