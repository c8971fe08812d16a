"""tokens.txt as other toolkits read it."""

from pathlib import Path

import pytest

from harken.core import InputError
from harken.export.tokens import token_lines, write_tokens
from harken.text.hf_ctc_tokenizer import HfCtcTokenizer
from harken.text.tokenize import CharTokenizer, TokenizerConfig, WordTokenizer, train_tokenizer

SPECIALS = {"pad_token": "<pad>", "unk_token": None, "bos_token": None, "eos_token": None}


def test_the_space_of_characters_is_the_mark_of_a_word() -> None:
    assert token_lines(CharTokenizer(["<pad>", " ", "a", "b"])) == ["<blk> 0", "▁ 1", "a 2", "b 3"]


def test_words_begin_where_they_begin() -> None:
    assert token_lines(WordTokenizer(["<pad>", "one", "two"])) == ["<blk> 0", "▁one 1", "▁two 2"]


def test_the_delimiter_of_transformers_is_the_mark_of_a_word() -> None:
    tokenizer = HfCtcTokenizer(["<pad>", "|", "A"], delimiter="|", specials=SPECIALS)
    assert token_lines(tokenizer) == ["<blk> 0", "▁ 1", "A 2"]


def test_pieces_carry_their_mark_already() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind="bpe", size=8), ["ab ab abc", "cab ab"])
    lines = token_lines(tokenizer)
    assert lines[0] == "<blk> 0"
    assert [line.rpartition(" ")[2] for line in lines] == [str(id_) for id_ in range(tokenizer.vocab_size)]
    assert any(line.startswith("▁") for line in lines)
    assert not any(line.startswith("▁▁") for line in lines)


def test_the_file_has_one_line_for_each_unit(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens.txt", CharTokenizer(["<pad>", " ", "ж"]))
    assert (tmp_path / "tokens.txt").read_bytes() == "<blk> 0\n▁ 1\nж 2\n".encode()


def test_a_tokenizer_that_keeps_its_units_to_itself_is_refused() -> None:
    class Secret:
        vocab_size = 3

    with pytest.raises(InputError, match="A Secret does not list its units"):
        token_lines(Secret())  # type: ignore[arg-type]
