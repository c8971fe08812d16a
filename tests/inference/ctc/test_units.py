"""What units add to a text, against the tokenizers' own words."""

import random
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from harken.core import Tokenizer
from harken.inference.ctc.units import joined, unit_strings
from harken.text.hf_ctc_tokenizer import HfCtcTokenizer
from harken.text.tokenize import BpeTokenizer, CharTokenizer, TokenizerConfig, WordTokenizer

SPECIALS = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
TOKENIZERS = {
    "char": CharTokenizer(["<pad>", " ", "a", "b", "\u0301"]),
    "word": WordTokenizer(["<pad>", "one", "two"]),
    "bpe": BpeTokenizer.train(TokenizerConfig(kind="bpe", size=14), ["banana band an", "nab a"] * 3),
    "hf": HfCtcTokenizer(["<pad>", "<s>", "</s>", "<unk>", "|", "E", "T", "\u0301"], delimiter="|", specials=SPECIALS),
}


class Marks:
    """Letters, and a mark that is always a word of its own, as SentencePiece's <unk> is."""

    vocab_size = 4

    def encode(self, text: str) -> list[int]:
        return [" ab?".index(letter) for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(word for word, _, _ in self.word_pieces(ids))

    def word_pieces(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        text = "".join(" ab?"[id_] for id_ in ids)
        return [(found[0], found.start(), found.end()) for found in re.finditer(r"\?|[ab]+", text)]

    def save(self, folder: Path) -> None:
        raise NotImplementedError


def test_a_unit_that_is_always_a_word() -> None:
    assert unit_strings(Marks()) == ("", "a", "b", " ? ")


def test_strings_by_hand() -> None:
    assert unit_strings(TOKENIZERS["char"]) == ("", " ", "a", "b", "\u0301")
    assert unit_strings(TOKENIZERS["word"]) == ("", " one ", " two ")
    assert unit_strings(TOKENIZERS["hf"]) == ("", "", "", "", " ", "e", "t", "\u0301")
    bpe = TOKENIZERS["bpe"]
    assert unit_strings(bpe) == ("", *(unit.replace("▁", " ") for unit in bpe.units[1:]))
    assert unit_strings(CharTokenizer(["<pad>", " ", "好", "a", "ส"])) == ("", " ", " 好 ", "a", "ส")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_joined_strings_are_the_words_of_the_tokenizer(name: str) -> None:
    tokenizer: Tokenizer = TOKENIZERS[name]
    strings = unit_strings(tokenizer)
    draw = random.Random(1)
    for _ in range(300):
        ids = [draw.randrange(1, tokenizer.vocab_size) for _ in range(draw.randrange(9))]
        text = joined(strings[id_] for id_ in ids)
        assert unicodedata.normalize("NFC", text).split() == [
            unicodedata.normalize("NFC", word) for word, _, _ in tokenizer.word_pieces(ids)
        ]
