"""A corpus of connected digits spoken by espeak-ng, for trying Harken out where no recordings are at hand.

It shows that a recogniser learns, and no more: what is trained on it does not understand real people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harken.core import InputError, Utterance, Waveform, keyed_generator
from harken.core.units import samples_to_seconds
from harken.data.fresh_process import SAMPLE_RATE_HZ, speak_files, spoken_waveform

MOST_DIGITS = 7
PITCHES_PER_VOICE = 3

DIGIT_VOICES = (
    "en+m1", "en+f1", "en-US+m2", "en-GB-scotland+f2", "en+m3", "en-US+f3", "en-GB-x-rp+m4", "en+f4", "en-US+m5",
    "en+Andy", "en-US+linda", "en+john", "en-GB-scotland+m7", "en-US+Alicia", "en+paul", "en-GB-x-rp+f5", "en-US+ed",
    "en+anika", "en-US+travis", "en+belinda",
)  # fmt: skip

DIGIT_WORDS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "ru": ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять"),
    "uz": ("nol", "bir", "ikki", "uch", "toʻrt", "besh", "olti", "yetti", "sakkiz", "toʻqqiz"),
    "hi": ("शून्य", "एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenLine:
    """One utterance to be spoken."""

    name: str
    text: str
    voice: str
    pitch: int
    rate_wpm: int

    def waveform(self) -> Waveform:
        return spoken_waveform(self.text, voice=self.voice, rate_wpm=self.rate_wpm, pitch=self.pitch)


def connected_digits(
    out: Path, *, utterances: int = 2_400, voices: Sequence[str] = DIGIT_VOICES, seed: int = 0
) -> list[Utterance]:
    """Write `utterances` FLAC files (16 kHz, 16 bit) of 1 to 7 digit words into `out`, and list them.

    Voices take turns; each speaks at three pitches, and voice and pitch together are the `speaker`. The last fifth of
    the voices (at least one, of two or more) is kept for testing: their utterances, and no others, carry the tag
    `split: test`, so training and test share no speaker. Words follow the language of the voice (en, ru, uz, hi).

    The same arguments give the same bytes: everything is spoken by one fresh process, because espeak-ng does not
    repeat itself within a process. Files appear in `out` only when all of them are done. Raises InputError for an
    unknown voice or a language without digits here, MissingPart without the extra `synthesis`.
    """
    if utterances < 1:
        raise InputError(f"utterances is {utterances}.", hint="Use 1 or more.")
    if not voices or len(set(voices)) < len(voices):
        raise InputError(f"voices is {list(voices)}.", hint="Name at least one voice, each only once.")
    lines = _plan(utterances, voices, seed)
    samples = speak_files(out, lines)
    testing = set(held_out(voices))
    return [
        Utterance(
            id=Path(line.name).stem,
            audio=str((out / line.name).resolve()),
            duration_s=samples_to_seconds(count, sample_rate_hz=SAMPLE_RATE_HZ),
            text=line.text,
            speaker=f"{line.voice}-p{line.pitch}",
            language=_language(line.voice),
            tags={"voice": line.voice, "split": "test" if line.voice in testing else "train"},
        )
        for line, count in zip(lines, samples, strict=True)
    ]


def _plan(utterances: int, voices: Sequence[str], seed: int) -> list[SpokenLine]:
    """What is spoken by whom; a pure function of its arguments."""
    pitches = {voice: _pitches(voice, seed) for voice in voices}
    lines = []
    for index in range(utterances):
        generator = keyed_generator("connected digits", seed, index)
        voice = voices[index % len(voices)]
        words = DIGIT_WORDS[_language(voice)]
        digits = generator.integers(10, size=int(generator.integers(1, MOST_DIGITS + 1)))
        lines.append(
            SpokenLine(
                name=f"digits-{index:06d}.flac",
                text=" ".join(words[digit] for digit in digits),
                voice=voice,
                pitch=pitches[voice][int(generator.integers(PITCHES_PER_VOICE))],
                rate_wpm=int(generator.integers(130, 221)),
            )
        )
    return lines


def _pitches(voice: str, seed: int) -> list[int]:
    """A low, a middle and a high pitch of its own for every voice."""
    spread = keyed_generator("pitches", seed, voice).integers(-8, 9, size=PITCHES_PER_VOICE)
    return [int(centre + shift) for centre, shift in zip((28, 50, 72), spread, strict=True)]


def held_out(voices: Sequence[str]) -> Sequence[str]:
    """The voices for testing: the last fifth, at least one of two or more."""
    return voices[len(voices) - max(1, len(voices) // 5) :] if len(voices) > 1 else ()


def _language(voice: str) -> str:
    language = voice.partition("+")[0].partition("-")[0].lower()
    if language not in DIGIT_WORDS:
        raise InputError(
            f"Digit words for the voice {voice!r} are not known.", hint=f"Use voices of {', '.join(DIGIT_WORDS)}."
        )
    return language
