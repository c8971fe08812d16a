"""Speech from text with espeak-ng, for corpora where there is no data (the optional extra `synthesis`).

espeak-ng keeps global C state. One lock serialises every call, and that state leaves its mark: the same sentence
spoken twice in one process differs slightly, while the same sequence of calls repeats exactly in a fresh process.
Callers that need the same audio twice store it, or run the whole sequence in a process of its own as
`harken.data.synthetic` does.
"""

from harken.audio import espeak
from harken.audio.espeak import Voice
from harken.core import InputError, Waveform

__all__ = ["Voice", "list_variants", "list_voices", "synthesize"]

_RATE, _VOLUME, _PITCH = 1, 2, 3  # parameters of speak_lib.h


def list_voices() -> list[Voice]:
    """Every voice there is, by name. Raises MissingPart without the package espeakng-loader."""
    return sorted((voice for voice, _ in espeak.voices().values()), key=lambda voice: voice.name.lower())


def list_variants() -> list[str]:
    """Timbres that any voice can take on, as in `en+f2`. Raises MissingPart without the package espeakng-loader."""
    return sorted(espeak.variants().values(), key=str.lower)


def synthesize(
    text: str, *, voice: str = "en", rate_wpm: int = 175, pitch: int = 50, volume: int = 100
) -> tuple[Waveform, int]:
    """Speak `text`: (samples,) float32 in [-1, 1], and its sample rate (22,050 Hz).

    `voice` is a name or language of `list_voices`, with or without a variant (`ru`, `en-US`, `en+f2`); the case of
    the letters does not matter. Choose it by the script of the text: a voice spells out letters it does not know.
    `rate_wpm` is 80 to 450 words per minute, `pitch` 0 to 100, `volume` 0 to 200 (100 is normal). Text without
    anything to say, such as "…", gives a moment of silence. Raises InputError for an unknown voice, an empty text or a
    number out of range, MissingPart without the package.
    """
    for name, value, low, high in (
        ("rate_wpm", rate_wpm, 80, 450),
        ("pitch", pitch, 0, 100),
        ("volume", volume, 0, 200),
    ):
        if not low <= value <= high:
            raise InputError(f"{name} is {value}.", hint=f"Use {low} to {high}.")
    if not text.strip() or "\0" in text:
        raise InputError(f"The text to speak is {text!r}.", hint="Give at least one word, without null characters.")
    chosen = espeak.resolve(voice)
    with espeak.LOCK:
        engine = espeak.engine()
        engine.set_voice(chosen)
        for parameter, value in ((_RATE, rate_wpm), (_VOLUME, volume), (_PITCH, pitch)):
            engine.set_parameter(parameter, value)
        return engine.speak(text), engine.sample_rate_hz
