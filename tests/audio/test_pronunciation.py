import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from harken.audio import espeak
from harken.audio.pronunciation import pronounce_words
from harken.audio.synthesis import synthesize
from harken.core import InputError, MissingPart

pytest.importorskip("espeakng_loader")


def test_words_as_their_dictionaries_have_them() -> None:
    words = ["church", "through", "judge", "hello", "nature's", "10"]
    assert [" ".join(phonemes) for phonemes in pronounce_words(words, voice="en-US")] == [
        "tʃ ɜː tʃ",
        "θ ɹ uː",
        "dʒ ʌ dʒ",
        "h ə l oʊ",
        "n eɪ tʃ ɚ z",
        "t ɛ n",
    ]


def test_languages_differ_and_do_not_disturb_each_other() -> None:
    [german], [english] = pronounce_words(["wind"], voice="de"), pronounce_words(["wind"], voice="en-US")
    assert (german[0], english[0]) == ("v", "w")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: pronounce_words(["wind"], voice=("de", "en-US")[n % 2]), range(40)))
    assert answers == [[german], [english]] * 20


def test_speech_in_between_changes_nothing() -> None:
    before = pronounce_words(["weather", "report"], voice="en-US")
    synthesize("привет", voice="ru")
    assert pronounce_words(["weather", "report"], voice="en-US") == before


def test_nothing_to_say_and_several_clauses() -> None:
    assert pronounce_words(["", " ", "...", "\0"], voice="en-US") == [[], [], [], []]
    assert pronounce_words([], voice="en-US") == []
    [phonemes] = pronounce_words(["no. no! no"], voice="en-US")
    assert phonemes == ["n", "oʊ"] * 3


def test_unknown_voice_and_absent_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="There is no voice 'klingon'"):
        pronounce_words(["a"], voice="klingon")
    for cached in (espeak.engine, espeak.voices, espeak.variants):
        monkeypatch.setattr(espeak, cached.__name__, cached.__wrapped__)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[synthesis\]'"):
        pronounce_words(["a"], voice="en-US")
