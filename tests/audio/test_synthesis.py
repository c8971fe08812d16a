"""Synthesis with espeak-ng: voices, parameters, determinism, refusals."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harken.audio.synthesis import Voice, list_variants, list_voices, synthesize
from harken.core import InputError

pytest.importorskip("espeakng_loader")


def voiced_hz(waveform: np.ndarray, rate_hz: int) -> float:
    """Median fundamental of the loud 40 ms frames, by autocorrelation."""
    frame = rate_hz // 25
    found = []
    for first in range(0, len(waveform) - frame, frame // 2):
        piece = waveform[first : first + frame].astype(np.float64)
        if np.square(piece).mean() < 0.1 * np.square(waveform).mean():
            continue
        piece -= piece.mean()
        likeness = np.correlate(piece, piece, "full")[frame - 1 :]
        shortest = rate_hz // 400
        lag = shortest + int(np.argmax(likeness[shortest : rate_hz // 60]))
        if likeness[lag] > 0.5 * likeness[0]:
            found.append(rate_hz / lag)
    return float(np.median(found))


@pytest.mark.parametrize(
    ("voice", "text"),
    [("en", "one two three"), ("ru", "один два три"), ("uz", "bir ikki uch"), ("uz", "бир икки уч"),
     ("hi", "एक दो तीन"), ("en+f2", "one two three"), ("EN-us", "one two three"), ("en-gb+F2", "one two three")],
)  # fmt: skip
def test_voices_speak(voice: str, text: str) -> None:
    waveform, rate_hz = synthesize(text, voice=voice)
    assert rate_hz == 22_050
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert 0.5 < len(waveform) / rate_hz < 3
    assert 0.1 < np.abs(waveform).max() <= 1


def test_rate_pitch_and_volume_do_what_they_say() -> None:
    text = "one two three four five six seven"
    slow, rate_hz = synthesize(text, rate_wpm=100)
    fast, _ = synthesize(text, rate_wpm=250)
    assert len(slow) > 1.8 * len(fast)
    low, _ = synthesize(text, pitch=10)
    high, _ = synthesize(text, pitch=90)
    assert voiced_hz(high, rate_hz) > 1.5 * voiced_hz(low, rate_hz)
    quiet, _ = synthesize(text, volume=25)
    normal, _ = synthesize(text, volume=100)
    assert np.sqrt(np.square(quiet).mean() / np.square(normal).mean()) == pytest.approx(0.25, abs=0.05)


def test_a_setting_does_not_stay_for_the_next_call() -> None:
    first, _ = synthesize("seven")
    synthesize("seven", voice="ru+f3", rate_wpm=400, pitch=99, volume=10)
    again, _ = synthesize("seven")
    assert len(again) == pytest.approx(len(first), rel=0.02)
    assert np.abs(again).max() == pytest.approx(np.abs(first).max(), rel=0.2)


def test_voices_and_variants_are_listed() -> None:
    voices = list_voices()
    assert {"en", "ru", "uz", "hi"} <= {voice.language.split("-")[0] for voice in voices}
    assert Voice(name="ru", language="ru", description="Russian") in voices
    assert [voice.name.lower() for voice in voices] == sorted(voice.name.lower() for voice in voices)
    assert {"f2", "m3", "whisper"} <= set(list_variants())


@pytest.mark.parametrize(
    ("voice", "message"),
    [("en-uk", r"no voice 'en-uk'\. Near it: .*en-us"), ("Russian", r"Near it: ru"), ("", "no voice ''"),
     ("en+f22", r"no variant 'f22'.*f2"), ("en+", "no variant ''"), ("en+../../x", "no variant")],
)  # fmt: skip
def test_an_unknown_voice_is_refused_with_its_neighbours(voice: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        synthesize("one", voice=voice)


def test_texts_and_numbers_that_cannot_be_spoken_are_refused() -> None:
    for text in ("", "  \n", "one\0two"):
        with pytest.raises(InputError, match="text to speak"):
            synthesize(text)
    for name, value in (("rate_wpm", 10), ("rate_wpm", 1000), ("pitch", -1), ("pitch", 101), ("volume", 201)):
        with pytest.raises(InputError, match=f"{name} is {value}"):
            synthesize("one", **{name: value})


def test_markup_and_odd_characters_are_only_text() -> None:
    plain, _ = synthesize("one")
    for text in ("<audio src='x'/> one", "[[h@l'oU]]", "one & two ✓ 🎧", "x" * 500):
        assert len(synthesize(text)[0]) > len(plain)


def test_threads_take_turns() -> None:
    texts = {"ru": "один", "en": "one two three four five six"}
    alone = {voice: len(synthesize(text, voice=voice)[0]) for voice, text in texts.items()}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda voice: (voice, len(synthesize(texts[voice], voice=voice)[0])), list(texts) * 8))
    for voice, samples in found:
        assert samples == pytest.approx(alone[voice], rel=0.03)


def test_the_same_calls_in_a_fresh_process_give_the_same_bytes() -> None:
    program = (
        "import hashlib; from harken.audio.synthesis import synthesize; "
        "print([hashlib.md5(synthesize(t, voice=v)[0].tobytes()).hexdigest() for t, v in "
        "(('one two', 'en+f2'), ('three', 'en-US+Andy'), ('четыре', 'ru+m3'), ('one two', 'en+f2'))])"
    )
    answers = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
               for _ in range(2)}  # fmt: skip
    assert len(answers) == 1


def test_without_the_package_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['espeakng_loader'] = None\n"
        "from harken.audio.synthesis import synthesize\n"
        "from harken.core import MissingPart\n"
        "try:\n    synthesize('one')\nexcept MissingPart as err:\n    print(err)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'harken[synthesis]'" in done.stdout
