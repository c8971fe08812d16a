"""Audio of any length: windows change nothing for a model with a short view, and memory stays small."""

from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import soundfile

from harken.audio import AudioDecodeError, FeatureConfig
from harken.core import InputError, RunFailed, Waveform
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.testing import check_recognizer
from harken.text.tokenize import CharTokenizer

TOKENIZER = CharTokenizer(["<pad>", " ", "a", "b", "c"])
FEATURES = FeatureConfig(kind="waveform", dimensions=1)
SUBSAMPLING = 160


class Tones:
    """Frames of 160 samples; how loud one is says which unit it is. `rows` notes the batches."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []

    def __call__(self, features_BFM: np.ndarray, frames_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.rows.append(features_BFM.shape[:2])
        whole = features_BFM.shape[1] // SUBSAMPLING
        loudness = np.abs(features_BFM[:, : whole * SUBSAMPLING, 0]).reshape(len(features_BFM), whole, -1).mean(2)
        scores = np.full((*loudness.shape, 5), -9.0, np.float32)
        np.put_along_axis(scores, np.round(loudness * 10).astype(int).clip(0, 4)[..., None], -1e-3, 2)
        return scores, frames_B // SUBSAMPLING


class Meeting(Tones):
    """The first `parties` calls wait for each other: one after the other, they would wait until the time is up."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.barrier, self.turns = Barrier(parties, timeout=20), iter(range(1_000))

    def __call__(self, features_BFM: np.ndarray, frames_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if next(self.turns) < self.barrier.parties:
            self.barrier.wait()
        return super().__call__(features_BFM, frames_B)


def spoken(seed: int, duration_s: float) -> Waveform:
    draw = np.random.default_rng(seed)
    frames = int(duration_s * 100)
    levels = np.repeat(draw.integers(0, 5, frames // 10 + 1), 10)[:frames]
    return np.repeat(levels / 10, SUBSAMPLING).astype(np.float32)


def recognizer(scorer: Tones | None = None, *, on_cpu: bool = True, **config: float) -> CtcRecognizer:
    return CtcRecognizer(
        scorer or Tones(),
        features=FEATURES,
        tokenizer=TOKENIZER,
        subsampling=SUBSAMPLING,
        config=EngineConfig(**config),  # type: ignore[arg-type]
        on_cpu=on_cpu,
    )


def test_it_keeps_the_contract() -> None:
    check_recognizer(recognizer(window_s=2.0, context_s=0.3), [spoken(1, 1.0), spoken(2, 7.0), spoken(3, 0.4)])


@pytest.mark.parametrize("window_s", [0.5, 1.0, 3.0])
def test_windows_give_what_one_pass_gives(window_s: float, tmp_path: Path) -> None:
    audio = spoken(0, 20.0)
    whole = recognizer().transcribe(audio)
    assert len(whole.words) > 10
    cut = recognizer(window_s=window_s, context_s=0.2)
    assert cut.transcribe(audio) == whole
    soundfile.write(tmp_path / "long.wav", audio, 16_000, subtype="FLOAT")
    assert cut.transcribe(tmp_path / "long.wav") == whole
    assert cut.transcribe_batch([audio, spoken(5, 0.3)])[0] == whole


def test_a_batch_holds_the_seconds_asked_for() -> None:
    scorer = Tones()
    recognizer(scorer, on_cpu=False, window_s=2.0, context_s=0.5, batch_s=6.0).transcribe(spoken(0, 20.0))
    assert {rows for rows, _ in scorer.rows} == {2, 3}  # 20 windows, the last two left over
    assert max(samples for _, samples in scorer.rows) <= 32_000
    assert sum(rows for rows, _ in scorer.rows) == 20


def test_samples_are_read_in_short_windows_one_at_a_time_on_a_processor() -> None:
    scorer = Tones()
    recognizer(scorer).transcribe(spoken(0, 50.0))
    assert scorer.rows == [
        (1, 256_000),
        (1, 320_000),
        (1, 320_000),
        (1, 288_000),
    ]  # 12 s each, the last 14, and 4 s around them


def test_features_are_read_in_longer_windows() -> None:
    class Lengths:
        def __init__(self) -> None:
            self.shapes: list[tuple[int, ...]] = []

        def __call__(self, features_BFM: np.ndarray, frames_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            self.shapes.append(features_BFM.shape)
            return np.log(np.full((len(frames_B), int(frames_B.max()), 5), 0.2, np.float32)), frames_B

    scorer = Lengths()
    features = FeatureConfig(kind="whisper", dimensions=80)
    made = CtcRecognizer(scorer, features=features, tokenizer=TOKENIZER, subsampling=1, config=EngineConfig())
    made.transcribe(spoken(0, 40.0))
    assert [shape[1] for shape in scorer.shapes] == [2600, 2200]


@pytest.mark.parametrize(("batch_s", "rows"), [(None, {1}), (6.0, {2, 3})])
def test_where_scores_depend_on_the_batch_nothing_shares_one_unless_asked_to(
    batch_s: float | None, rows: set[int]
) -> None:
    scorer = Tones()
    made = CtcRecognizer(
        scorer,
        features=FEATURES,
        tokenizer=TOKENIZER,
        subsampling=SUBSAMPLING,
        config=EngineConfig(batch_s=batch_s, window_s=2.0, context_s=0.5),
        on_cpu=False,
        alone=True,
    )
    many = [spoken(seed, 2.0) for seed in range(5)]
    for recognizer_ in (made, made.with_decoder(made.decoder)):
        scorer.rows.clear()
        recognizer_.transcribe_batch(many)
        recognizer_.transcribe(spoken(0, 20.0))
        assert {found for found, _ in scorer.rows} == rows


def test_batches_and_windows_scored_at_the_same_time_give_the_same() -> None:
    many = [spoken(seed, duration_s) for seed, duration_s in enumerate([0.3, 9.0, 1.0, 0.7, 1.9, 4.5, 2.0])]
    parallel = CtcRecognizer(
        Meeting(3),
        features=FEATURES,
        tokenizer=TOKENIZER,
        subsampling=SUBSAMPLING,
        config=EngineConfig(window_s=2.0, context_s=0.5, batch_s=2.0),
        parallel=3,
    )
    assert parallel.transcribe_batch(many) == recognizer(window_s=2.0, context_s=0.5).transcribe_batch(many)


def test_an_error_of_one_of_several_batches_arrives() -> None:
    class Failing(Tones):
        def __call__(self, features_BFM: np.ndarray, frames_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raise RunFailed("no memory")

    parallel = CtcRecognizer(
        Failing(),
        features=FEATURES,
        tokenizer=TOKENIZER,
        subsampling=SUBSAMPLING,
        config=EngineConfig(batch_s=1.0),
        parallel=2,
    )
    with pytest.raises(RunFailed, match="no memory"):
        parallel.transcribe_batch([spoken(1, 1.0), spoken(2, 1.0), spoken(3, 1.0)])


def test_silence_says_nothing_and_keeps_its_place() -> None:
    quiet = np.zeros(48_000, np.float32)
    audio = np.concatenate([spoken(1, 2.0), quiet, spoken(2, 2.0)])
    found = recognizer(window_s=1.0, context_s=0.1).transcribe(audio)
    assert found == recognizer().transcribe(audio)
    assert recognizer(window_s=1.0, context_s=0.1).transcribe(quiet).text == ""


def test_audio_longer_than_taken_is_refused_with_both_numbers(tmp_path: Path) -> None:
    engine = recognizer(longest_s=2.0)
    assert engine.transcribe(np.zeros(32_000, dtype=np.float32)).duration_s == 2.0
    with pytest.raises(InputError, match=r"3.0 s is longer than the 2 s .* raise longest_s"):
        engine.transcribe(np.zeros(48_000, dtype=np.float32))
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(48_000), 16_000)
    with pytest.raises(AudioDecodeError, match=r"long\.wav .* 2\.0 s"):
        engine.transcribe(path)


def test_settings_for_other_models_are_refused() -> None:
    with pytest.raises(InputError, match="it has a CTC output"):
        CtcRecognizer(
            Tones(), features=FEATURES, tokenizer=TOKENIZER, subsampling=160, config=EngineConfig(language="uz")
        )
