"""The audio an export is checked on, and calibrated with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harken.audio.decode import decode_audio
from harken.audio.resample import resample
from harken.audio.synthesis import synthesize
from harken.core import MissingPart, Utterance, Waveform
from harken.core.units import samples_to_seconds
from harken.data.manifest import read_manifest
from harken.data.synthetic import DIGIT_WORDS

LONGEST_S = 30.0
_SPOKEN = ((1, 150), (7, 175), (3, 200), (12, 160))  # digits, words per minute
_CUTS = (0.61, 0.13)  # shares of a clip: lengths that no recording has


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One piece of audio (samples,) at the model's rate, with what is said in it where that is known."""

    name: str
    waveform: Waveform
    text: str | None = None


def find_clips(
    manifest: Path | None, files: Sequence[Path], *, clips: int, languages: Sequence[str], sample_rate_hz: int
) -> list[Clip]:
    """Clips of a manifest, else of audio files, else spoken ones. Raises as those below."""
    if manifest is not None:
        return load_clips(manifest, clips=clips, sample_rate_hz=sample_rate_hz)
    if files:
        return read_clips(files, sample_rate_hz=sample_rate_hz)
    return spoken_clips(languages, sample_rate_hz=sample_rate_hz)


def load_clips(manifest: Path, *, clips: int, sample_rate_hz: int) -> list[Clip]:
    """Up to `clips` utterances of a manifest, spread over its durations from the shortest to the longest.

    Those above `LONGEST_S` are left out. Raises InputError for a manifest or audio that cannot be read, MissingPart
    where no utterance is short enough.
    """
    usable = [utterance for utterance in read_manifest(manifest) if utterance.duration_s <= LONGEST_S]
    if not usable:
        raise MissingPart(
            f"{manifest} has no utterance of {LONGEST_S:g} s or less.", hint="Give one with shorter ones."
        )
    usable.sort(key=lambda utterance: (utterance.duration_s, utterance.id))
    places = sorted({round(place) for place in np.linspace(0, len(usable) - 1, min(clips, len(usable)))})
    return [_read(usable[place], sample_rate_hz) for place in places]


def read_clips(files: Sequence[Path], *, sample_rate_hz: int) -> list[Clip]:
    """The first `LONGEST_S` of audio files. Raises AudioDecodeError for one that cannot be decoded."""
    longest = round(LONGEST_S * sample_rate_hz)
    return [
        Clip(name=file.name, waveform=decode_audio(file, sample_rate_hz=sample_rate_hz)[:longest]) for file in files
    ]


def spoken_clips(languages: Sequence[str], *, sample_rate_hz: int) -> list[Clip]:
    """Digits spoken by espeak-ng, in the first of `languages` that has them, else in English.

    They carry no text: a model need not understand them for its export to be compared. Raises MissingPart without the
    package.
    """
    language = next((language for language in languages if language in DIGIT_WORDS), "en")
    words = DIGIT_WORDS[language]
    clips = []
    for digits, rate_wpm in _SPOKEN:
        text = " ".join(words[(3 * digits + 7 * place) % len(words)] for place in range(digits))
        try:
            waveform, rate = synthesize(text, voice=language, rate_wpm=rate_wpm)
        except MissingPart as err:
            raise MissingPart(
                "There is no audio to check the export on.",
                hint="Give a manifest with --data, or: pip install 'harken[synthesis]'.",
            ) from err
        clips.append(
            Clip(name=f"{digits} digits ({language})", waveform=resample(waveform, from_hz=rate, to_hz=sample_rate_hz))
        )
    return clips


def with_cuts(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, and pieces of the longest one, of lengths that recordings rarely have."""
    longest = max(clips, key=lambda clip: len(clip.waveform))
    pieces = [
        Clip(
            name=f"{longest.name}, {share:.0%} of it", waveform=longest.waveform[: round(share * len(longest.waveform))]
        )
        for share in _CUTS
    ]
    return [*clips, *(piece for piece in pieces if len(piece.waveform))]


def duration_s(clips: Sequence[Clip], *, sample_rate_hz: int) -> float:
    """Seconds of audio in all of them."""
    return samples_to_seconds(sum(len(clip.waveform) for clip in clips), sample_rate_hz=sample_rate_hz)


def _read(utterance: Utterance, sample_rate_hz: int) -> Clip:
    waveform = decode_audio(
        utterance.audio,
        sample_rate_hz=sample_rate_hz,
        offset_s=utterance.offset_s,
        duration_s=utterance.duration_s,
    )
    return Clip(name=utterance.id, waveform=waveform, text=utterance.text)
