"""The torch engine: batches change nothing, odd audio is no error, settings are checked."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.inference.streaming.conftest import noise

from harken.audio import AudioDecodeError, FeatureConfig
from harken.core import InputError, MissingPart, Recognizer, Transcript, Waveform
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.torch_engine import TorchCtcScorer, load_engine, make_recognizer, pad_features, pick_device
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.text.tokenize import CharTokenizer


def test_it_is_a_recognizer_and_says_something(recognizer: CtcRecognizer, noises: list[Waveform]) -> None:
    assert isinstance(recognizer, Recognizer)
    assert recognizer.sample_rate_hz == 16_000
    texts = [transcript.text for transcript in recognizer.transcribe_batch(noises)]
    assert len(set(texts)) > 3  # otherwise the order of results could not be told below


@pytest.mark.parametrize("batch_s", [0.1, 3.0, 240.0])
def test_a_batch_gives_what_each_gives_alone_in_the_same_order(
    model_folder: Path, recognizer: CtcRecognizer, noises: list[Waveform], batch_s: float
) -> None:
    engine = load_engine(model_folder, config=EngineConfig(device="cpu", batch_s=batch_s))
    together = engine.transcribe_batch(noises)
    for waveform, transcript in zip(noises, together, strict=True):
        alone = recognizer.transcribe(waveform)
        assert transcript.text == alone.text
        assert transcript.duration_s == len(waveform) / 16_000
        assert [(word.text, word.start_s, word.end_s) for word in transcript.words] == [
            (word.text, word.start_s, word.end_s) for word in alone.words
        ]
        np.testing.assert_allclose(
            [word.confidence for word in transcript.words], [word.confidence for word in alone.words], atol=1e-5
        )


def test_scores_in_a_batch_equal_those_alone(recognizer: CtcRecognizer, noises: list[Waveform]) -> None:
    features = [recognizer.extractor(waveform) for waveform in noises]
    assert isinstance(recognizer.scorer, TorchCtcScorer)
    model = recognizer.scorer.model
    with torch.inference_mode():
        scores_BTV, frames_B = model(*pad_features(features, torch.device("cpu")))
        for row, item in enumerate(features):
            alone, _ = model(*pad_features([item], torch.device("cpu")))
            close = scores_BTV[row, : frames_B[row]].log_softmax(-1), alone[0].log_softmax(-1)
            torch.testing.assert_close(*close, atol=1e-4, rtol=1e-5)  # scores are made 40 times larger than usual


@pytest.mark.parametrize("samples", [0, 1, 10, 159, 160, 200])
def test_empty_and_very_short_audio_is_no_error(recognizer: CtcRecognizer, samples: int) -> None:
    transcript = recognizer.transcribe(np.zeros(samples, dtype=np.float32))
    assert transcript.duration_s == samples / 16_000
    if samples < 160:
        assert transcript == Transcript(text="", duration_s=samples / 16_000)


def test_empty_audio_among_others_keeps_its_place(recognizer: CtcRecognizer, noises: list[Waveform]) -> None:
    nothing = np.zeros(0, dtype=np.float32)
    found = recognizer.transcribe_batch([nothing, noises[0], nothing, noises[1]])
    expected = [recognizer.transcribe(noises[0]).text, recognizer.transcribe(noises[1]).text]
    assert [transcript.text for transcript in found] == ["", expected[0], "", expected[1]]


def test_no_audio_at_all_gives_no_transcripts(recognizer: CtcRecognizer) -> None:
    assert recognizer.transcribe_batch([]) == []


def test_a_file_gives_the_text_of_its_samples(
    recognizer: CtcRecognizer, noises: list[Waveform], tmp_path: Path
) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, noises[1], 16_000, subtype="FLOAT")
    assert recognizer.transcribe(path) == recognizer.transcribe(str(path))
    assert recognizer.transcribe(path).text == recognizer.transcribe(noises[1]).text
    with pytest.raises(AudioDecodeError, match="does not exist"):
        recognizer.transcribe(tmp_path / "absent.wav")


def test_samples_of_another_type_are_refused(recognizer: CtcRecognizer) -> None:
    with pytest.raises(InputError, match="int16"):
        recognizer.transcribe(np.zeros(1600, dtype=np.int16))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="NaN"):
        recognizer.transcribe(np.full(1600, np.nan, dtype=np.float32))


def test_devices_are_checked() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match=r"device is 'gpu'\. Use auto, cpu"):
        pick_device("gpu")
    with pytest.raises(InputError, match=r"device is 'meta'\. Use auto, cpu"):
        pick_device("meta")
    with pytest.raises(MissingPart, match="device is 'cuda:99', but PyTorch sees"):
        pick_device("cuda:99")


def test_what_the_torch_engine_cannot_do(model_folder: Path) -> None:
    with pytest.raises(InputError, match="precision is 'int8', and the torch engine computes in fp32"):
        load_engine(model_folder, config=EngineConfig(device="cpu", precision="int8"))


def test_threads_are_those_asked_for(model_folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        load_engine(model_folder, config=EngineConfig(device="cpu", threads=3))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_windows_of_a_model_with_chunks_give_what_one_pass_gives() -> None:
    """The mask of a chunked model is laid on each window anew, so windows must begin where a chunk does."""
    torch.manual_seed(0)
    model = ConformerCtc(
        ConformerSettings(width=16, layers=2, heads=2, kernel=5, input_mean=-5.0, chunk_frames=8, left_chunks=1), 20, 5
    )
    with torch.no_grad():
        model.output.weight.mul_(30)
    tokenizer = CharTokenizer(["<pad>", " ", "a", "b", "c"])
    audio = noise(20)

    def heard(window_s: float, context_s: float) -> tuple[list[tuple[str, float, float]], list[float | None]]:
        engine = make_recognizer(
            model,
            features=FeatureConfig(kind="nemo", dimensions=20, normalize="none"),
            tokenizer=tokenizer,
            config=EngineConfig(device="cpu", window_s=window_s, context_s=context_s),
        )
        words = engine.transcribe(audio).words
        return [(word.text, word.start_s, word.end_s) for word in words], [word.confidence for word in words]

    whole = heard(60.0, 4.0)
    assert len(whole[0]) > 20
    for window_s, context_s in ((5.0, 1.4), (6.05, 1.5), (6.3, 1.6)):
        words, confidences = heard(window_s, context_s)
        assert words == whole[0]
        np.testing.assert_allclose(confidences, whole[1], atol=1e-4)  # type: ignore[arg-type]
