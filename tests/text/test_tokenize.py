"""Tokenizers of every kind: round trips, files, the words behind ids, and what they refuse."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import InputError, MissingPart, Tokenizer, parse_settings
from harken.text import TokenizerConfig, UnknownUnitError, load_tokenizer, train_tokenizer

KINDS = ["char", "bpe", "word"]
TEXTS = [
    "the cat sat on the mat",
    "the dog o'zbek ate й the cat",
    "हिन्दी में भाषा",
    "ที่นี่ ภาษาไทย",
    "zero one two three four five six seven eight nine",
]


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(TokenizerConfig(kind=request.param), TEXTS)


def test_round_trip(tokenizer: Tokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert all(0 < id_ < tokenizer.vocab_size for id_ in ids)
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    assert tokenizer.word_pieces([]) == []


def test_white_space_and_decomposed_letters_are_read_as_their_plain_form(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode(" the\t cat\n") == tokenizer.encode("the cat")
    assert tokenizer.encode("и\u0306") == tokenizer.encode("й")


def test_word_pieces_cut_the_ids_into_the_words_of_the_text(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        ids = tokenizer.encode(text)
        pieces = tokenizer.word_pieces(ids)
        assert [word for word, _, _ in pieces] == text.split()
        for word, first, end in pieces:
            assert tokenizer.decode(ids[first:end]) == word
        spans = [place for _, first, end in pieces for place in range(first, end)]
        assert spans == sorted(set(spans))


@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_any_ids_decode_to_their_word_pieces(kind: str, data: st.DataObject) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind), TEXTS)
    ids = data.draw(st.lists(st.integers(1, tokenizer.vocab_size - 1), max_size=20))
    pieces = tokenizer.word_pieces(ids)
    assert tokenizer.decode(ids) == " ".join(word for word, _, _ in pieces)
    assert all(word and " " not in word for word, _, _ in pieces)
    assert all(first < end <= len(ids) for _, first, end in pieces)


def test_saved_and_loaded_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(tokenizer)
    assert again.vocab_size == tokenizer.vocab_size
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    other = tmp_path / "again"
    again.save(other)
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert names == sorted(path.name for path in other.iterdir())
    assert all((tmp_path / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_the_order_of_texts_does_not_change_a_closed_vocabulary(tmp_path: Path) -> None:
    for kind in ("char", "word"):
        one, two = (train_tokenizer(TokenizerConfig(kind=kind), texts) for texts in (TEXTS, TEXTS[::-1]))
        assert [one.encode(text) for text in TEXTS] == [two.encode(text) for text in TEXTS]


def test_char_vocabulary_by_hand(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(), ["ba c", "é"])
    tokenizer.save(tmp_path)
    assert json.loads((tmp_path / "vocab.json").read_text("utf-8")) == {
        "<pad>": 0,
        " ": 1,
        "a": 2,
        "b": 3,
        "c": 4,
        "é": 5,
    }
    assert json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))["kind"] == "char"
    assert tokenizer.encode("ab c") == [2, 3, 1, 4]
    assert tokenizer.decode([1, 2, 1, 1, 3, 1]) == "a b"  # spaces at the edges and doubled ones are no words
    assert tokenizer.word_pieces([1, 2, 1, 1, 3, 1]) == [("a", 1, 2), ("b", 4, 5)]


def test_a_char_vocabulary_has_the_space_even_when_all_texts_are_one_word() -> None:
    assert train_tokenizer(TokenizerConfig(), ["yes", "no"]).decode([1]) == ""


def test_word_size_keeps_the_most_frequent_and_ties_go_by_code_point() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind="word", size=2), ["b a c", "c a b", "d c"])
    assert tokenizer.vocab_size == 3
    assert [tokenizer.decode([id_]) for id_ in (1, 2)] == ["a", "c"]
    with pytest.raises(UnknownUnitError):
        tokenizer.encode("a b")


def test_bpe_learns_frequent_words_whole_and_stops_when_words_are_used_up() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind="bpe"), ["low low low lower lowest"] * 3)
    assert len(tokenizer.encode("low")) == 1
    assert tokenizer.vocab_size < 30
    assert tokenizer.decode(tokenizer.encode("slow towel")) == "slow towel"  # new words from known letters


def test_bpe_size_counts_units_without_the_blank() -> None:
    letters = "abcdefgh"
    texts = [f"{a}{b}{c} {c}{a}" for a in letters for b in letters for c in letters]
    assert train_tokenizer(TokenizerConfig(kind="bpe", size=40), texts).vocab_size == 41
    # 8 letters within words and the word start
    assert train_tokenizer(TokenizerConfig(kind="bpe", size=9), texts).vocab_size == 10
    with pytest.raises(InputError, match=r"size is 8, and the texts hold 9 different characters"):
        train_tokenizer(TokenizerConfig(kind="bpe", size=8), texts)


def test_bpe_training_gives_the_same_file_in_other_processes(tmp_path: Path) -> None:
    code = (
        "import random, sys; from pathlib import Path; from harken.text import *\n"
        "r = random.Random(5); words = [''.join(r.choices('abcdef', k=r.randint(1, 6))) for _ in range(300)]\n"
        "texts = [' '.join(r.choices(words, k=8)) for _ in range(200)]\n"
        "train_tokenizer(TokenizerConfig(kind='bpe', size=120), texts).save(Path(sys.argv[1]))\n"
    )
    saved = []
    for seed in ("0", "1"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment)
        saved.append((folder / "tokenizer.json").read_bytes())
    assert saved[0] == saved[1]


def test_an_unknown_character_is_named_with_its_text() -> None:
    for kind in ("char", "bpe"):
        tokenizer = train_tokenizer(TokenizerConfig(kind=kind), ["abc"])
        with pytest.raises(UnknownUnitError, match=r"z \(U\+007A\).*'cab zab'") as caught:
            tokenizer.encode("cab  zab")
        assert (caught.value.unit, caught.value.text) == ("z", "cab zab")
        assert caught.value.hint


def test_the_error_for_an_unknown_unit_crosses_processes_and_cuts_long_texts() -> None:
    error = UnknownUnitError("\u0301", "a" * 500)
    assert "'\\u0301' (U+0301)" in str(error) or "(U+0301)" in str(error)
    assert len(str(error)) < 300
    again = pickle.loads(pickle.dumps(error))
    assert (again.unit, again.text, str(again)) == (error.unit, error.text, str(error))


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(UnknownUnitError, match=r"'ten' is not in .* 'nine ten'"):
        train_tokenizer(TokenizerConfig(kind="word"), ["nine"]).encode("nine ten")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], [""], ["  ", "\n"]])
def test_no_text_is_refused(kind: str, texts: list[str]) -> None:
    with pytest.raises(InputError, match="no text to train"):
        train_tokenizer(TokenizerConfig(kind=kind), texts)


def test_the_blank_never_comes_out_of_encode() -> None:
    with pytest.raises(InputError, match="<pad>"):
        train_tokenizer(TokenizerConfig(kind="word"), ["a <pad> b"])
    for kind in ("char", "bpe"):
        tokenizer = train_tokenizer(TokenizerConfig(kind=kind), ["<pad> a"])
        if kind == "bpe":
            with pytest.raises(UnknownUnitError, match="<pad>"):
                tokenizer.encode("<pad>")
        else:
            assert 0 not in tokenizer.encode("<pad>")


def test_bpe_refuses_the_character_that_marks_word_starts() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(kind="bpe"), ["a b"])
    with pytest.raises(UnknownUnitError, match=r"U\+2581"):
        tokenizer.encode("a▁b")


def test_ids_that_cannot_be_decoded_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="id 0 is the blank"):
        tokenizer.decode([1, 0])
    with pytest.raises(ValueError, match="outside 1"):
        tokenizer.decode([tokenizer.vocab_size])
    with pytest.raises(ValueError, match="outside 1"):
        tokenizer.decode([-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": ""}, "kind is empty"),
        ({"kind": "bpe", "size": 0}, "size is 0"),
        ({"kind": "char", "size": 10}, "leave it out for kind char"),
        ({"kidn": "char"}, "did you mean 'kind'"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_settings(TokenizerConfig, settings, source="recipe.yaml")


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(MissingPart, match="bpe, char, hf-ctc, sentencepiece, whisper, word"):
        train_tokenizer(TokenizerConfig(kind="syllable"), ["a"])


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("tokenizer_config.json", None, MissingPart, "does not exist"),
        ("tokenizer_config.json", "{", InputError, "cannot be read as JSON"),
        ("tokenizer_config.json", "[]", InputError, "holds list"),
        ("tokenizer_config.json", "{}", InputError, "has no 'kind'"),
        ("vocab.json", None, MissingPart, "does not exist"),
        ("vocab.json", '{"<pad>": 0, " ": 2}', InputError, "not 0, 1, 2"),
        ("vocab.json", '{"<pad>": 0, " ": "1"}', InputError, "not 0, 1, 2"),
        ("vocab.json", '{"a": 0, "<pad>": 1, " ": 2}', InputError, "unit 0"),
        ("vocab.json", '{"<pad>": 0, "ab": 1, " ": 2}', InputError, "single characters"),
        ("vocab.json", '{"<pad>": 0}', InputError, "at least one more unit"),
    ],
)
def test_damaged_files_are_refused(
    file: str, content: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    train_tokenizer(TokenizerConfig(), TEXTS).save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message):
        load_tokenizer(tmp_path)


def test_a_damaged_bpe_file_is_refused(tmp_path: Path) -> None:
    train_tokenizer(TokenizerConfig(kind="bpe"), TEXTS).save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="not a tokenizer file"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(MissingPart, match=r"tokenizer\.json does not exist"):
        load_tokenizer(tmp_path)


@pytest.mark.rival
@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_transformers_reads_the_saved_files(kind: str, tmp_path: Path) -> None:
    """In a process of its own, because importing transformers is slow and warns about what it likes."""
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind), TEXTS)
    tokenizer.save(tmp_path)
    code = (
        "import json, sys; from transformers import AutoTokenizer\n"
        "t = AutoTokenizer.from_pretrained(sys.argv[1]); texts = json.loads(sys.argv[2])\n"
        "ids = [t(x, add_special_tokens=False)['input_ids'] for x in texts]\n"
        "more = {'group_tokens': False} if sys.argv[3] == 'char' else {}\n"
        "print(json.dumps([len(t), t.pad_token_id, ids, [t.decode(i, **more) for i in ids]]))\n"
    )
    pytest.importorskip("transformers")
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(TEXTS), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = [tokenizer.vocab_size, 0, [tokenizer.encode(text) for text in TEXTS], TEXTS]
    assert json.loads(done.stdout.splitlines()[-1]) == expected
