"""Random models whose vocabulary has words."""

from pathlib import Path

import pytest

from harken.models.pretrained import load_pretrained
from harken.testing.random_models import random_whisper, whisper_tokens, word_merges
from harken.text.whisper_tokenizer import WhisperTokenizer

WORDS = ("two", "three", "ten")


def test_merges_share_the_beginnings_of_words() -> None:
    assert word_merges(["to", "ten"]) == [("Ġ", "t"), ("Ġt", "o"), ("Ġt", "e"), ("Ġte", "n")]


def test_each_word_is_one_unit_and_other_text_is_bytes(tmp_path: Path) -> None:
    random_whisper(tmp_path, words=WORDS, times_s=0.1)
    tokenizer = WhisperTokenizer.load(tmp_path)
    ids = tokenizer.encode("two three ten two")
    assert len(ids) == 4
    assert ids[0] == ids[3]
    assert tokenizer.decode(ids) == "two three ten two"
    assert tokenizer.word_pieces(ids) == [("two", 0, 1), ("three", 1, 2), ("ten", 2, 3), ("two", 3, 4)]
    assert tokenizer.decode(tokenizer.encode("twenty bees")) == "twenty bees"
    tokens = whisper_tokens(("en", "uz", "ru"), times_s=0.1, words=WORDS)
    assert {unit: tokenizer.token_id(unit) for unit in tokens} == tokens
    assert max(tokens.values()) + 1 == tokenizer.vocab_size
    model = load_pretrained(tmp_path).model
    assert model.config.vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize("word", ["so'z", "ўн", "", "two three"])
def test_words_of_other_characters_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="ASCII"):
        word_merges([word])
