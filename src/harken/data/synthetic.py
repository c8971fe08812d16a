"""A corpus of connected digits spoken by espeak-ng, for trying Harken out where no recordings are at hand.

It shows that a recogniser learns, and no more: what is trained on it does not understand real people.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harken.core import InputError, MissingPart, RunFailed, Utterance, keyed_generator
from harken.core.units import samples_to_seconds

SAMPLE_RATE_HZ = 16_000
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
class _Line:
    """One utterance to be spoken."""

    name: str
    text: str
    voice: str
    pitch: int
    rate_wpm: int


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
    out.mkdir(parents=True, exist_ok=True)
    lines = _plan(utterances, voices, seed)
    with tempfile.TemporaryDirectory(prefix=".speaking-", dir=out) as folder:
        samples = _speak_in_fresh_process(Path(folder), lines)
        for line in lines:
            (Path(folder) / line.name).replace(out / line.name)
    held_out = set(_held_out(voices))
    return [
        Utterance(
            id=Path(line.name).stem,
            audio=str((out / line.name).resolve()),
            duration_s=samples_to_seconds(count, sample_rate_hz=SAMPLE_RATE_HZ),
            text=line.text,
            speaker=f"{line.voice}-p{line.pitch}",
            language=_language(line.voice),
            tags={"voice": line.voice, "split": "test" if line.voice in held_out else "train"},
        )
        for line, count in zip(lines, samples, strict=True)
    ]


def _plan(utterances: int, voices: Sequence[str], seed: int) -> list[_Line]:
    """What is spoken by whom; a pure function of its arguments."""
    pitches = {voice: _pitches(voice, seed) for voice in voices}
    lines = []
    for index in range(utterances):
        generator = keyed_generator("connected digits", seed, index)
        voice = voices[index % len(voices)]
        words = DIGIT_WORDS[_language(voice)]
        digits = generator.integers(10, size=int(generator.integers(1, MOST_DIGITS + 1)))
        lines.append(
            _Line(
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


def _held_out(voices: Sequence[str]) -> Sequence[str]:
    return voices[len(voices) - max(1, len(voices) // 5) :] if len(voices) > 1 else ()


def _language(voice: str) -> str:
    language = voice.partition("+")[0].partition("-")[0].lower()
    if language not in DIGIT_WORDS:
        raise InputError(
            f"Digit words for the voice {voice!r} are not known.", hint=f"Use voices of {', '.join(DIGIT_WORDS)}."
        )
    return language


def _speak_in_fresh_process(folder: Path, lines: Sequence[_Line]) -> list[int]:
    """Samples in each of the files that the worker wrote."""
    task = json.dumps({"folder": str(folder), "lines": [asdict(line) for line in lines]})
    command = [sys.executable, "-c", "from harken.data.synthetic import _work; _work()"]
    done = subprocess.run(command, input=task, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise RunFailed(f"The speaking process ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        kinds = {kind.__name__: kind for kind in (InputError, MissingPart)}
        raise kinds.get(answer["kind"], RunFailed)(answer["error"], hint=answer["hint"])
    samples: list[int] = answer["samples"]
    return samples


def _work() -> None:
    """The worker: a task as JSON on stdin, the answer as JSON on stdout."""
    task = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"samples": [_write(Path(task["folder"]), _Line(**line)) for line in task["lines"]]}
    except (InputError, MissingPart, RunFailed) as err:
        answer = {"kind": type(err).__name__, "error": err.message, "hint": err.hint}
    json.dump(answer, sys.stdout)


def _write(folder: Path, line: _Line) -> int:
    import soundfile

    from harken.audio.resample import resample
    from harken.audio.synthesis import synthesize

    spoken, rate_hz = synthesize(line.text, voice=line.voice, rate_wpm=line.rate_wpm, pitch=line.pitch)
    waveform = np.clip(resample(spoken, from_hz=rate_hz, to_hz=SAMPLE_RATE_HZ), -1.0, 1.0)
    soundfile.write(folder / line.name, waveform, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return len(waveform)
