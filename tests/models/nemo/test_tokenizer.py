"""SentencePiece models: the same ids as the sentencepiece package (recorded in golden.json), one higher."""

import base64
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart
from harken.models.nemo.sentencepiece_model import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, CharacterMap, parse_model
from harken.models.nemo.tokenizer import SentencePieceTokenizer
from harken.text.vocabulary import UnknownUnitError


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def make_model(pieces: list[tuple[str, float, int]], *, algorithm: int = 1, **trainer: int) -> bytes:
    """A ModelProto with these (piece, score, type)."""
    body = b"".join(
        block(1, block(1, piece.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + b"\x18" + varint(kind))
        for piece, score, kind in pieces
    )
    fields = varint(3 << 3) + varint(algorithm)
    if trainer.get("suffix"):
        fields += varint(24 << 3) + varint(1)
    return body + block(2, fields)


PIECES = [
    ("<unk>", 0.0, UNKNOWN),
    ("<s>", 0.0, CONTROL),
    ("▁", -3.0, NORMAL),
    ("a", -2.0, NORMAL),
    ("b", -2.5, NORMAL),
    ("▁ab", -4.0, NORMAL),
    ("ab", -5.0, NORMAL),
]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_ids_are_those_of_the_sentencepiece_package(golden: dict[str, Any], kind: str) -> None:
    recorded = golden["tokenizers"][kind]
    tokenizer = SentencePieceTokenizer(base64.b64decode(recorded["model"]))
    assert list(tokenizer.units[1:]) == recorded["pieces"]
    known = 0
    for text, ids in recorded["ids"].items():
        if 0 in ids:
            with pytest.raises(UnknownUnitError):
                tokenizer.encode(text)
        else:
            known += 1
            assert tokenizer.encode(text) == [id_ + 1 for id_ in ids], text
    assert known > 20


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_round_trip_and_words(golden: dict[str, Any], kind: str, tmp_path: Path) -> None:
    tokenizer = SentencePieceTokenizer(base64.b64decode(golden["tokenizers"][kind]["model"]))
    text = "one nine uh seven ноль"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    words = tokenizer.word_pieces(ids)
    assert [word for word, _, _ in words] == text.split()
    assert [ids[first:end] for _, first, end in words] == [tokenizer.encode(word) for word in text.split()]
    tokenizer.save(tmp_path)
    for again in (SentencePieceTokenizer.load(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert again.encode(text) == ids
        assert again.units == tokenizer.units


def test_normalisation_is_the_models_own(golden: dict[str, Any]) -> None:
    tokenizer = SentencePieceTokenizer(base64.b64decode(golden["tokenizers"]["bpe"]["model"]))
    assert tokenizer.decode(tokenizer.encode("ещё ﬁve")) == "еще five"
    assert tokenizer.encode("five…nine") == tokenizer.encode("five nine")


def test_best_path_by_hand() -> None:
    tokenizer = SentencePieceTokenizer(make_model(PIECES))
    assert tokenizer.encode("ab") == [6]  # ▁ab: -4, against -8 for ▁ + ab and -7.5 for ▁ + a + b
    assert tokenizer.encode("aab") == [3, 4, 4, 5]  # ▁ a a b: -9.5, against -10 for ▁ a ab
    assert tokenizer.encode("") == []


def test_merges_by_hand() -> None:
    tokenizer = SentencePieceTokenizer(make_model(PIECES, algorithm=2))
    assert tokenizer.encode("ab") == [6]  # a + b first, as ▁ + a is no piece; then ▁ + ab
    assert tokenizer.encode("aab ab") == [3, 4, 7, 6]
    pieces = [*PIECES[:5], ("ab", -0.0, NORMAL), ("▁ab", -1.0, NORMAL), ("bb", -2.0, NORMAL)]
    tokenizer = SentencePieceTokenizer(make_model(pieces, algorithm=2))
    assert tokenizer.encode("ab") == [7]
    assert tokenizer.encode("abb bbb") == [7, 5, 3, 8, 5]


@pytest.mark.parametrize("algorithm", [1, 2])
def test_pieces_kept_whole(algorithm: int) -> None:
    pieces = [*PIECES, ("ba", 0.0, USER_DEFINED)]
    tokenizer = SentencePieceTokenizer(make_model(pieces, algorithm=algorithm))
    assert tokenizer.encode("aba") == [3, 4, 8]  # sentencepiece gives the same, less one, although ▁ab scores more
    assert tokenizer.encode("bba") == [3, 5, 8]


def test_unknown_characters_are_named() -> None:
    with pytest.raises(UnknownUnitError, match=r"z \(U\+007A\) is not in the tokenizer's vocabulary") as caught:
        SentencePieceTokenizer(make_model(PIECES)).encode("ab az")
    assert (caught.value.unit, caught.value.text) == ("z", "ab az")


def test_unknown_and_control_units_in_a_transcript() -> None:
    tokenizer = SentencePieceTokenizer(make_model(PIECES))
    assert tokenizer.word_pieces([6, 1, 4, 2, 3]) == [("ab", 0, 1), ("⁇", 1, 2), ("a", 2, 4)]
    assert tokenizer.decode([6, 1, 4]) == "ab ⁇ a"
    assert tokenizer.decode([]) == ""
    with pytest.raises(ValueError, match="the blank"):
        tokenizer.decode([0])
    with pytest.raises(ValueError, match="outside"):
        tokenizer.decode([8])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "holds no pieces"),
        (b"not a model at all", "is not a SentencePiece model"),
        (make_model(PIECES)[:-1], "is not a SentencePiece model"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "is not a SentencePiece model"),
        (make_model(PIECES, algorithm=4), "is of type CHAR"),
        (make_model(PIECES, suffix=1), "marks words at their end"),
        (make_model([*PIECES, ("<0x00>", 0.0, 6)]), "has pieces for bytes"),
        (make_model([*PIECES, PIECES[-1]]), "holds a piece twice"),
    ],
)
def test_damaged_and_unknown_models(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_model(data, source="x.model")


def test_models_whose_pieces_span_words() -> None:
    with pytest.raises(InputError, match="pieces that span words, such as 'a▁b'"):
        SentencePieceTokenizer(make_model([*PIECES, ("a▁b", -1.0, NORMAL)]))


@pytest.mark.parametrize("data", [b"\x01", b"\x08\0\0\0abcd", b"\x05\0\0\0abcdefgh", b"\0\0\0\0"])
def test_damaged_normalisation_table(data: bytes) -> None:
    with pytest.raises(InputError, match="normalisation table is damaged"):
        CharacterMap(data, source="x.model")


def test_a_folder_without_the_model(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="does not exist"):
        SentencePieceTokenizer.load(tmp_path)
