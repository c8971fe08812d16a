"""What each id of a tokenizer adds to a text, worked out once per vocabulary.

Decoders that score words while they search would otherwise ask the tokenizer at every step. The strings say where words
begin and end by spaces: "a" goes on with a word, " a" begins one, "a " or " a " end it, " " only parts two words, and
"" says nothing. They come from the tokenizer's own `word_pieces`, so every `core.Tokenizer` will do.
"""

import re
from collections.abc import Iterable

from harken.core import Tokenizer
from harken.text.segmentation import is_unspaced

_SPACES = re.compile(" {2,}")
# Chinese and Japanese, where a character is a word to language models; scripts with marks and stacked letters, such as
# Thai, are cut at spaces only.
_ALONE = range(0x2E80, 0xA000), range(0xF900, 0x40000)


def unit_strings(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The string of each id, "" for the blank; about 10 µs an id."""
    joining = next((id_ for id_ in range(1, tokenizer.vocab_size) if _spans(tokenizer, [id_, id_]) == [(0, 2)]), None)
    return ("", *(_string(tokenizer, id_, joining) for id_ in range(1, tokenizer.vocab_size)))


def joined(strings: Iterable[str]) -> str:
    """Strings of consecutive units as one, with single spaces between words and one on either side."""
    return _SPACES.sub(" ", f" {''.join(strings)} ")


def _string(tokenizer: Tokenizer, id_: int, joining: int | None) -> str:
    """The unit is put between two others that go on with any word; without such units every unit is a word."""
    text = "".join(word for word, _, _ in tokenizer.word_pieces([id_]))
    if joining is None:
        begins = ends = bool(text)
    else:
        spans = _spans(tokenizer, [joining, id_, joining])
        begins = spans[0][1] == 1
        ends = spans[-1][0] == 2
    parted = "".join(f" {character} " if _stands_alone(character) else character for character in text)
    return _SPACES.sub(" ", f"{' ' * begins}{parted}{' ' * ends}")


def _spans(tokenizer: Tokenizer, ids: list[int]) -> list[tuple[int, int]]:
    return [(first, end) for _, first, end in tokenizer.word_pieces(ids)]


def _stands_alone(character: str) -> bool:
    return any(ord(character) in block for block in _ALONE) and is_unspaced(character)
