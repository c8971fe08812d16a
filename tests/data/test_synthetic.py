"""The synthetic corpus of connected digits."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import InputError, Utterance
from harken.data import synthetic
from harken.data.synthetic import DIGIT_VOICES, DIGIT_WORDS, connected_digits, held_out

pytest.importorskip("espeakng_loader")

VOICES = ("en+m3", "en-US+f2", "ru", "uz+m1", "hi+f3")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Utterance]]:
    folder = tmp_path_factory.mktemp("digits") / "a" / "b"
    return folder, connected_digits(folder, utterances=40, voices=VOICES, seed=3)


def test_files_are_what_the_utterances_say(corpus: tuple[Path, list[Utterance]]) -> None:
    folder, utterances = corpus
    assert sorted(path.name for path in folder.iterdir()) == [f"digits-{index:06d}.flac" for index in range(40)]
    for utterance in utterances:
        waveform, rate_hz = soundfile.read(utterance.audio, dtype="float32")
        assert Path(utterance.audio).is_absolute()
        assert rate_hz == 16_000
        assert waveform.ndim == 1
        assert len(waveform) / rate_hz == utterance.duration_s
        assert np.abs(waveform).max() > 0.05
        words = (utterance.text or "").split()
        assert 1 <= len(words) <= 7
        assert set(words) <= set(DIGIT_WORDS[str(utterance.language)])
        assert 0.15 * len(words) < utterance.duration_s < 1.2 * len(words) + 0.6
    assert len({utterance.id for utterance in utterances}) == 40


def test_voices_take_turns_and_the_last_fifth_is_kept_for_testing(corpus: tuple[Path, list[Utterance]]) -> None:
    utterances = corpus[1]
    assert Counter(utterance.tags["voice"] for utterance in utterances) == dict.fromkeys(VOICES, 8)
    test = {utterance.speaker for utterance in utterances if utterance.tags["split"] == "test"}
    train = {utterance.speaker for utterance in utterances if utterance.tags["split"] == "train"}
    assert test
    assert {str(speaker).rpartition("-p")[0] for speaker in test} == {"hi+f3"}
    assert not test & train
    assert {utterance.language for utterance in utterances} == {"en", "ru", "uz", "hi"}


def test_the_same_arguments_give_the_same_bytes(corpus: tuple[Path, list[Utterance]], tmp_path: Path) -> None:
    folder, utterances = corpus
    again = connected_digits(tmp_path, utterances=40, voices=VOICES, seed=3)
    connected_digits(tmp_path, utterances=40, voices=VOICES, seed=3)  # into a folder that has them already
    for one, other in zip(utterances, again, strict=True):
        assert Path(one.audio).read_bytes() == Path(other.audio).read_bytes()
        assert (one.id, one.text, one.speaker, one.duration_s) == (
            other.id,
            other.text,
            other.speaker,
            other.duration_s,
        )
    assert len(list(tmp_path.iterdir())) == 40
    assert (folder / "digits-000000.flac").exists()


def test_another_seed_says_something_else(corpus: tuple[Path, list[Utterance]], tmp_path: Path) -> None:
    other = connected_digits(tmp_path, utterances=5, voices=VOICES, seed=4)
    assert [utterance.text for utterance in other] != [utterance.text for utterance in corpus[1][:5]]


def test_the_usual_plan_is_varied() -> None:
    lines = synthetic._plan(2_400, DIGIT_VOICES, 0)
    assert len({(line.voice, line.pitch) for line in lines}) == 3 * len(DIGIT_VOICES)
    assert Counter(len(line.text.split()) for line in lines).keys() == set(range(1, 8))
    words = Counter(word for line in lines for word in line.text.split())
    assert set(words) == set(DIGIT_WORDS["en"])
    assert min(words.values()) > 0.8 * max(words.values())
    assert (min(line.rate_wpm for line in lines), max(line.rate_wpm for line in lines)) == (130, 220)
    assert all(0 <= line.pitch <= 100 for line in lines)
    assert len(held_out(DIGIT_VOICES)) == 4


def test_one_voice_is_all_for_training(tmp_path: Path) -> None:
    (only,) = connected_digits(tmp_path, utterances=1, voices=["en"])
    assert only.tags["split"] == "train"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"utterances": 0}, "utterances is 0"), ({"voices": []}, "voices is"), ({"voices": ["en", "en"]}, "only once"),
     ({"voices": ["fr"]}, "Digit words for the voice 'fr'"), ({"voices": ["en+nobody"]}, "no variant 'nobody'")],
)  # fmt: skip
def test_refusals_leave_nothing_behind(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        connected_digits(tmp_path, **{"utterances": 2, **arguments})
    assert list(tmp_path.iterdir()) == []
