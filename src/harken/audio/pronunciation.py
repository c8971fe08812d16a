"""How words are pronounced, by espeak-ng's rules and dictionaries (the optional extra `synthesis`)."""

import re
from collections.abc import Iterable

from harken.audio import espeak

__all__ = ["pronounce_words"]

_STRESS = re.compile("[ˈˌ]")
_SEPARATOR = re.compile("[_ \n]+")


def pronounce_words(words: Iterable[str], *, voice: str) -> list[list[str]]:
    """Phonemes of each word in IPA, without stress; an empty list where there is nothing to say.

    Words are taken one by one, so what a word becomes among others (weak forms, liaison) is not seen; numbers and
    abbreviations are spelled out. `voice` is a name or language, as `synthesize` takes it. Equal words give equal
    phonemes, whatever came before.

    Raises InputError for an unknown voice, MissingPart without the package espeakng-loader.
    """
    chosen = espeak.resolve(voice)
    with espeak.LOCK:
        engine = espeak.engine()
        engine.set_voice(chosen)
        return [_split(engine.phonemes(word.replace("\0", " "))) for word in words]


def _split(ipa: str) -> list[str]:
    return [phoneme for phoneme in _SEPARATOR.split(_STRESS.sub("", ipa)) if phoneme]
