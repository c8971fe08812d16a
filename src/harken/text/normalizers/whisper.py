"""The normalisers published with Whisper, as the package whisper-normalizer carries them, kept from doing damage.

The published functions are called, not rewritten, and three things are done around the call:

- **Marks stay.** The published functions drop a combining mark or put a space in its place: हिन्दी becomes three
  words, й becomes и. Here marks stay on the letters of every script (`whisper-basic`), and on those of every script
  but Latin (`whisper-english`, which is published to write café as cafe). Selectors that only choose a glyph vanish.
- **One Arabic word stays one.** Some Arabic characters are phrases; their compatibility form has spaces in it.
- **Until nothing changes.** The published functions are not idempotent: "oh seven" gives 07, and 07 gives 7. They are
  applied until the text stays as it is.

On a text without such characters, for which the published function is stable, the words are the published ones.
Method: Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, appendix C.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from harken.core import MissingPart
from harken.text.normalize import Profile
from harken.text.normalizers.characters import GLYPH_CHOICES, CharacterTable, drop_leading_marks

Function = Callable[[str], str]

_PACKAGE = "whisper-normalizer"
_MOST_ROUNDS = 100
# Letters without case, decomposition or a living language (Tangut) stand in for what the library must not touch.
_STAND_INS = [chr(0x17000 + n) for n in range(64)]
# Letters whose NFKC has a space in it. U+FDFA is a phrase of four words; the others are vowel signs on a space.
_PHRASES = set("\ufdfa\ufdfb\ufc5e\ufc5f\ufc60\ufc61\ufc62\ufc63\ufe70\ufe72\ufe74\ufe76\ufe78\ufe7a\ufe7c\ufe7e")
_JOINERS = "\u200c\u200d"  # stand between the marks of one letter
_SIMPLE_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?[.,?!]?")
_AFTER_CONTRACTIONS = {"been", "gone", "done", "got"}  # decide between "he has" and "he is" for "he's"


def whisper_basic() -> Profile:
    """Whisper's normaliser for every language but English. Raises MissingPart without whisper-normalizer."""
    try:
        from whisper_normalizer.basic import BasicTextNormalizer
    except ImportError as err:
        raise _missing("whisper-basic") from err
    return _profile("whisper-basic", _Basic(BasicTextNormalizer(remove_diacritics=False, preserve_marks=True)))


def whisper_english() -> Profile:
    """Whisper's normaliser for English. Raises MissingPart without whisper-normalizer."""
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as err:
        raise _missing("whisper-english") from err
    published = EnglishTextNormalizer()
    return _profile("whisper-english", _English(published, published.standardize_numbers.words))


def _profile(name: str, function: Function) -> Profile:
    return Profile(name=name, version=f"1+{_PACKAGE} {version(_PACKAGE)}", function=function, by_word=False)


def _missing(name: str) -> MissingPart:
    return MissingPart(
        f"The normalisation profile {name!r} needs the package {_PACKAGE}.", hint="pip install 'harken[eval]'"
    )


class _Basic:
    """Lower case, no [bracketed] or (parenthesised) text, no punctuation or symbols; NFKC."""

    def __init__(self, published: Function) -> None:
        self._published = published

    def __call__(self, text: str) -> str:
        return _rounds(self._once, text, _is_final)[-1]

    def _once(self, text: str) -> str:
        if text.isascii():
            return " ".join(self._published(text).split())
        text = text.translate(_MARKS)
        if _PHRASES.isdisjoint(text):
            published = self._published(text)
        else:
            with_stand_ins, restore = _hide((character, character in _PHRASES) for character in text)
            published = restore(self._published(with_stand_ins))
        return " ".join(word for word in map(drop_leading_marks, published.split()) if word)


def _replace_mark(character: str) -> str:
    if ord(character) in GLYPH_CHOICES:
        return ""
    return " " if unicodedata.category(character) == "Me" else character


_MARKS = CharacterTable(_replace_mark)


def _is_final(text: str) -> bool:
    """Whether `_Basic` has nothing left to do for its own output. No is not certain."""
    return text.isascii() or (text == text.lower() and unicodedata.is_normalized("NFKC", text))


class _English:
    """Lower case, no bracketed text, fillers or punctuation; contractions and titles spelled out, numbers in digits,
    American spelling, no accents on Latin letters."""

    def __init__(self, published: Function, number_words: Iterable[str]) -> None:
        self._published = published
        # What is read together with its neighbours. "and" is so only beside one of the others.
        self._linked = {*number_words, "half"} - {"and"}
        self._simple: dict[str, str | None] = {}

    def __call__(self, text: str) -> str:
        words = text.lower().split()
        pieces = [self._simple[word] if word in self._simple else self._simplify(word) for word in words]
        if None in pieces or ("'" in text and any(word.rstrip(".,?!") in _AFTER_CONTRACTIONS for word in words)):
            return _rounds(self._once, text)[-1]
        return " ".join(piece for piece in pieces if piece)

    def _simplify(self, word: str) -> str | None:
        """What a word becomes whatever stands beside it; None where that depends. The whole text takes 60 regular
        expressions, so a text of such words only is put together from them."""
        result = None
        if _SIMPLE_WORD.fullmatch(word):
            stages = _rounds(self._once, word)
            parts = re.split(r"[ .,?!']", " ".join([word, *stages]))
            if all(not part or (part.isascii() and part.isalpha() and part not in self._linked) for part in parts):
                result = stages[-1]
        self._simple[word] = result
        return result

    def _once(self, text: str) -> str:
        if text.isascii():
            return " ".join(self._publish(text).split())
        with_stand_ins, restore = _hide(_split_marked(text.translate(_MARKS)))
        return " ".join(restore(self._publish(with_stand_ins)).split())

    def _publish(self, text: str) -> str:
        """The published function; where it fails, as on numbers of thousands of digits, each half alone."""
        try:
            return self._published(text)
        except (AssertionError, ValueError):
            words = text.split()
            if len(words) < 2:
                return text.lower()
            middle = len(words) // 2
            return f"{self._publish(' '.join(words[:middle]))} {self._publish(' '.join(words[middle:]))}"


def _split_marked(text: str) -> Iterator[tuple[str, bool]]:
    """Characters in order, letters with their marks, and whether the published function would spoil them."""
    start = 0
    while start < len(text):
        end = start + 1
        if not unicodedata.category(text[start]).startswith("L"):
            yield text[start], False
        else:
            while end < len(text) and (text[end] in _JOINERS or unicodedata.category(text[end])[0] == "M"):
                end += 1
            letter = text[start:end]
            spoiled = not _is_latin(letter[0]) and any(
                unicodedata.category(part)[0] in "MZ" for part in unicodedata.normalize("NFKD", letter)
            )
            yield (unicodedata.normalize("NFC", letter.lower()) if spoiled else letter), spoiled
        start = end


def _is_latin(letter: str) -> bool:
    return letter.isascii() or "LATIN" in unicodedata.name(letter, "")


def _hide(pieces: Iterable[tuple[str, bool]]) -> tuple[str, Function]:
    """The text of the pieces with stand-ins for those marked True, and the function that puts these back."""
    listed = [(piece, hidden or piece in _STAND_INS) for piece, hidden in pieces]
    distinct = sorted({piece for piece, hidden in listed if hidden})
    if not distinct:
        return "".join(piece for piece, _ in listed), str
    width = 1
    while len(_STAND_INS) ** width < len(distinct):
        width += 1
    code_of = {piece: _code(number, width) for number, piece in enumerate(distinct)}
    piece_of = {code: piece for piece, code in code_of.items()}
    pattern = re.compile(f"[{_STAND_INS[0]}-{_STAND_INS[-1]}]{{{width}}}")
    text = "".join(code_of[piece] if hidden else piece for piece, hidden in listed)
    return text, lambda changed: pattern.sub(lambda match: piece_of[match[0]], changed)


def _code(number: int, width: int) -> str:
    base = len(_STAND_INS)
    return "".join(_STAND_INS[number // base**place % base] for place in range(width))


def _rounds(once: Function, text: str, is_final: Callable[[str], bool] = lambda text: False) -> list[str]:
    """Results of applying `once` again and again, up to the first that comes back. The last of them is always the
    same one for itself: where results follow each other in a circle, it is the one before the entry."""
    seen = [once(text)]
    while not is_final(seen[-1]) and len(seen) < _MOST_ROUNDS and (following := once(seen[-1])) not in seen:
        seen.append(following)
    return seen
