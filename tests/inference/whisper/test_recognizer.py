"""The recognizer: its contract with real networks, and long audio on a backend that writes what it is given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.audio.vad import VadConfig
from harken.core import InputError, Recognizer, Transcript, Waveform
from harken.inference.whisper.backend import Generated, Search
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.testing import check_recognizer

RATE = 16_000
TICK = 1_600  # samples of a digit in the scripted audio: 0.1 s


class Ticks(FeatureExtractor):
    """Features that say which digits a window holds: frame n carries the sample at its place."""

    def __call__(self, waveform: Waveform, *, generator: Any = None) -> np.ndarray:
        features = np.zeros((150, 80), np.float32)
        heard = waveform[::160][:150]
        features[: len(heard)] = heard[:, None]
        return features


def ticks(values: list[int]) -> Waveform:
    """0.1 s for each value, 0.1 to 0.9 loud."""
    return np.repeat(np.array(values, np.float32) / 10, TICK)


def read_ticks(whisper: Any) -> Any:
    """Writes the digits of a window, each its own segment; a digit cut by the window's end is left unfinished."""
    tokenizer = whisper.tokenizer

    def answer(row: np.ndarray, _prompt: list[int], search: Search) -> Generated:
        frames = row[:, 0]
        length = int(np.flatnonzero(frames)[-1]) + 1 if frames.any() else 0
        ids: list[int] = []
        for first in range(0, length, 10):
            digit, end = str(round(float(frames[first]) * 10)), min(first + 10, length)
            if search.timestamps:
                ids.append(tokenizer.time_id(first / 100))
            ids += tokenizer.encode(digit)
            if search.timestamps and (end < 150 or (end - first == 10 and length == 150)):
                ids.append(tokenizer.time_id(end / 100))
        return Generated(ids=ids, average_log_prob=-0.1, no_speech_prob=0.0)

    return answer


def recognizer(whisper: Any, scripted: Any, **options: Any) -> WhisperRecognizer:
    config = WhisperDecodingConfig(**{"max_compression_ratio": None, **options})
    return WhisperRecognizer(scripted(read_ticks(whisper)), Ticks(whisper.features), whisper.tokenizer, config)


DIGITS = [int(digit) for digit in "31415926535897932384626433832795".replace("0", "1")]


@pytest.mark.parametrize("count", [3, 15, 16, 29, 32])
def test_long_audio_loses_and_doubles_nothing_at_its_seams(whisper: Any, scripted: Any, count: int) -> None:
    made = recognizer(whisper, scripted)
    found = made.transcribe(ticks(DIGITS[:count]))
    assert found.text.replace(" ", "") == "".join(map(str, DIGITS[:count]))
    assert found.duration_s == pytest.approx(count * 0.1)
    if count > 15:
        starts = [segment.start_s for segment in found.segments]
        assert starts == pytest.approx([0.1 * n for n in range(count)], abs=0.011)


def test_files_share_batches_and_keep_their_order(whisper: Any, scripted: Any) -> None:
    made = recognizer(whisper, scripted)
    lists = [DIGITS[:4], DIGITS[3:30], [7], DIGITS[10:20], DIGITS[::-1]]
    together = made.transcribe_batch([ticks(values) for values in lists])
    assert [found.text.replace(" ", "") for found in together] == ["".join(map(str, values)) for values in lists]
    assert max(made.backend.encoded) == 5  # all five at first
    alone = sum(len(recognizer(whisper, scripted).transcribe(ticks(values)).segments) for values in lists)
    assert sum(len(found.segments) for found in together) == alone


def test_many_files_are_opened_few_at_a_time(whisper: Any, scripted: Any) -> None:
    made = WhisperRecognizer(
        scripted(read_ticks(whisper)), Ticks(whisper.features), whisper.tokenizer, batch_windows=3,
    )  # fmt: skip
    found = made.transcribe_batch([ticks([1 + n % 9]) for n in range(20)])
    assert [item.text for item in found] == [str(1 + n % 9) for n in range(20)]
    assert made.backend.encoded == [3] * 6 + [2]


def test_a_file_is_read_as_it_is_decoded(whisper: Any, scripted: Any, tmp_path: Path) -> None:
    import soundfile

    values = DIGITS * 3
    soundfile.write(tmp_path / "long.wav", ticks(values), RATE, subtype="FLOAT")
    made = recognizer(whisper, scripted)
    found = made.transcribe(tmp_path / "long.wav")
    assert found.text.replace(" ", "") == "".join(map(str, values))
    assert found.duration_s == pytest.approx(9.6)
    short = WhisperRecognizer(made.backend, made.extractor, whisper.tokenizer, longest_s=9.0)
    with pytest.raises(InputError, match="9"):
        short.transcribe(tmp_path / "long.wav")
    with pytest.raises(InputError, match=r"Audio of 9.6 s is longer than the 9 s"):
        short.transcribe(ticks(values))


def test_each_window_is_told_the_text_before_it(whisper: Any, scripted: Any) -> None:
    made = recognizer(whisper, scripted, condition_on_previous=True, language="uz")
    made.transcribe(ticks(DIGITS))
    first, second, third = (prompts[0] for prompts, _ in made.backend.calls)
    before = whisper.tokenizer.token_id("<|startofprev|>")
    assert before not in first
    assert second[0] == before
    assert whisper.tokenizer.decode(second) == "".join(map(str, DIGITS[: len(second) - 4]))
    assert len(third) > len(second)


def test_the_first_window_decides_the_language_or_each_its_own(whisper: Any, scripted: Any) -> None:
    for several, expected in ((False, {"ru"}), (True, {"ru", "en"})):
        made = recognizer(whisper, scripted, multilingual=several)
        made.backend.languages = lambda row: "ru" if row[0, 0] == np.float32(0.3) else "en"
        found = made.transcribe(ticks(DIGITS))
        codes = {id_: code for code, id_ in whisper.tokenizer.languages.items()}
        told = {codes[id_] for prompts, _ in made.backend.calls for prompt in prompts for id_ in prompt if id_ in codes}
        assert told == expected
        assert found.language in expected
    for name in ("uz", "Uzbek", "uz-Latn"):
        assert recognizer(whisper, scripted, language=name).transcribe(ticks([1])).language == "uz"


def test_words_lie_in_their_segments(whisper: Any, scripted: Any) -> None:
    found = recognizer(whisper, scripted, word_times=True).transcribe(ticks(DIGITS))
    assert [word.text for word in found.words] == [str(digit) for digit in DIGITS]
    starts = [word.start_s for word in found.words]
    assert starts == sorted(starts)
    assert starts == pytest.approx([0.1 * n for n in range(32)], abs=0.06)
    for segment in found.segments:
        assert (segment.start_s, segment.end_s) == (segment.words[0].start_s, segment.words[-1].end_s)
        assert all(word.confidence == 0.5 for word in segment.words)


def test_speech_windows_are_decoded_together_and_silence_not_at_all(whisper: Any, scripted: Any) -> None:
    pytest.importorskip("silero_vad")
    made = recognizer(whisper, scripted, long_form="vad")
    found = made.transcribe_batch([np.zeros(RATE * 20, np.float32), np.zeros(10, np.float32)])
    assert [item.text for item in found] == ["", ""]
    assert [item.duration_s for item in found] == [20.0, pytest.approx(10 / RATE)]
    assert made.backend.encoded == []


@pytest.mark.shared
def test_real_speech_by_vad(whisper: Any, shared_fsdd: Path) -> None:
    """Digits with a second between them: each is in a window, none of which is longer than the model's."""
    pytest.importorskip("silero_vad")
    from harken.audio.decode import decode_audio
    from harken.inference.whisper.sample_stream import SampleStream
    from harken.inference.whisper.speech_windows import speech_windows

    files = sorted((shared_fsdd / "recordings").glob("*_jackson_0.wav"))
    pause = np.zeros(RATE, np.float32)
    spans, pieces, at = [], [pause], RATE
    for file in files:
        spoken = decode_audio(file)
        spans.append((at, at + len(spoken)))
        pieces += [spoken, pause]
        at += len(spoken) + RATE
    found = list(speech_windows(SampleStream(pieces), longest=24_000, config=VadConfig()))
    for begin, end in spans:
        middle = (begin + end) // 2
        assert sum(w.start <= middle < w.start + len(w.samples) for w in found) == 1


@pytest.mark.parametrize(
    "options",
    [{}, {"beam_size": 1}, {"timestamps": True, "beam_size": 2}, {"word_times": True}, {"multilingual": True}],
)
def test_the_contract_with_torch(whisper: Any, extractor: FeatureExtractor, noises: Any, options: Any) -> None:
    config = WhisperDecodingConfig(max_tokens=20, seed=3, **{"temperatures": (0.0, 1.0), "best_of": 2, **options})
    made = WhisperRecognizer(whisper.backend, extractor, whisper.tokenizer, config)
    assert isinstance(made, Recognizer)
    check_recognizer(made, noises[:4])
    texts = {found.text for found in made.transcribe_batch(noises)}
    assert len(texts) > 4


def test_bad_audio_and_other_features_are_refused(whisper: Any, extractor: FeatureExtractor) -> None:
    made = WhisperRecognizer(whisper.backend, extractor, whisper.tokenizer)
    with pytest.raises(InputError, match="NaN"):
        made.transcribe(np.full(3_000, np.nan, np.float32))
    with pytest.raises(InputError, match=r"shape \(2, 10\)"):
        made.transcribe(np.zeros((2, 10), np.float32))
    other = FeatureExtractor(FeatureConfig(kind="whisper", dimensions=80, pad_to_s=30.0))
    with pytest.raises(InputError, match="features are 3000 frames of 80 of kind whisper; this Whisper reads 150"):
        WhisperRecognizer(whisper.backend, other, whisper.tokenizer)


def test_empty_batch_and_empty_audio(whisper: Any, extractor: FeatureExtractor) -> None:
    made = WhisperRecognizer(whisper.backend, extractor, whisper.tokenizer)
    assert made.transcribe_batch([]) == []
    assert made.transcribe(np.zeros(0, np.float32)) == Transcript(text="", duration_s=0.0)
