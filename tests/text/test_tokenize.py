from pathlib import Path

import pytest

from harken.core import InputError, MissingPart
from harken.text.tokenize import TokenizerConfig, UnknownUnitError, load_tokenizer, train_tokenizer

TEXTS = ["one two three", "two three four", "three one one", "seven o'clock"]


@pytest.mark.parametrize(
    "config", [TokenizerConfig(), TokenizerConfig(kind="bpe", size=40), TokenizerConfig(kind="word")]
)
def test_texts_come_back_and_survive_saving(config: TokenizerConfig, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.vocab_size == tokenizer.vocab_size
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert 0 not in ids
        assert max(ids) < tokenizer.vocab_size
        assert tokenizer.decode(ids) == text
        assert loaded.encode(text) == ids
        pieces = tokenizer.word_pieces(ids)
        assert [word for word, _, _ in pieces] == text.split()
        assert all(first < end <= len(ids) for _, first, end in pieces)
    assert tokenizer.encode("") == []


def test_characters_are_the_units_of_char() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(), ["ab ba"])
    assert tokenizer.vocab_size == 4  # the blank, the space, a, b
    assert len(tokenizer.encode("ab ba")) == 5


def test_words_are_the_units_of_word() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind="word"), TEXTS)
    assert tokenizer.vocab_size == 1 + len({word for text in TEXTS for word in text.split()})
    assert len(tokenizer.encode("two three four")) == 3


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(UnknownUnitError, match=r"z \(U\+007A\)") as caught:
        train_tokenizer(TokenizerConfig(), ["ab"]).encode("az")
    assert caught.value.unit == "z"
    with pytest.raises(UnknownUnitError, match="'ten'"):
        train_tokenizer(TokenizerConfig(kind="word"), TEXTS).encode("ten one")


def test_bpe_is_deterministic() -> None:
    first, second = (train_tokenizer(TokenizerConfig(kind="bpe", size=30), TEXTS) for _ in range(2))
    assert first.encode("one two three") == second.encode("one two three")


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(InputError):
        train_tokenizer(TokenizerConfig(), [])
    with pytest.raises(MissingPart):
        train_tokenizer(TokenizerConfig(kind="unigram"), TEXTS)
    with pytest.raises(ValueError, match="size"):
        TokenizerConfig(kind="bpe", size=0)


def test_a_folder_without_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingPart):
        load_tokenizer(tmp_path)
