"""A SentencePiece `tokenizer.model` file, read without the sentencepiece package.

The file is one protocol-buffers message, ModelProto of sentencepiece_model.proto. The numbers below are its field
numbers; everything else in it is skipped.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from harken.core import InputError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
UNIGRAM, BPE = 1, 2
_KINDS = {3: "WORD", 4: "CHAR"}
_MODEL_PIECE, _MODEL_TRAINER, _MODEL_NORMALIZER = 1, 2, 3
_TRAINER_TYPE, _TRAINER_SUFFIX = 3, 24
_NORMALIZER_MAP, _NORMALIZER_PREFIX = 2, 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HINT = "Copy the .nemo file again, or make the tokenizer with kind unigram or bpe."


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceModel:
    """Pieces by id, with their scores (log probability, or minus the rank of the merge) and types.

    `character_map` is the compiled normalisation, empty for none; `add_prefix` whether the first word starts with ▁.
    """

    algorithm: int  # UNIGRAM or BPE
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[int, ...]
    character_map: bytes = b""
    add_prefix: bool = True


def parse_model(data: bytes, *, source: str) -> SentencePieceModel:
    """The model in the bytes of a file. Raises InputError for damage and for what ASR models do not use: types of
    model other than unigram and BPE, pieces for bytes, word marks at the end of words."""
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    try:
        for number, value in _fields(data):
            if number == _MODEL_PIECE:
                pieces.append(_piece(dict(_fields(value))))
            elif number == _MODEL_TRAINER:
                trainer = dict(_fields(value))
            elif number == _MODEL_NORMALIZER:
                normalizer = dict(_fields(value))
    except (IndexError, ValueError, TypeError, struct.error, AttributeError) as err:
        raise InputError(f"{source} is not a SentencePiece model: {err}.", hint=_HINT) from err
    algorithm = trainer.get(_TRAINER_TYPE, UNIGRAM)
    types = {kind for _, _, kind in pieces}
    refused = [
        (not pieces, "holds no pieces"),
        (algorithm not in (UNIGRAM, BPE), f"is of type {_KINDS.get(algorithm, algorithm)}"),
        (not types <= {NORMAL, UNKNOWN, CONTROL, USER_DEFINED}, "has pieces for bytes, or unused ones"),
        (bool(trainer.get(_TRAINER_SUFFIX)), "marks words at their end"),
        (len({piece for piece, _, _ in pieces}) != len(pieces), "holds a piece twice"),
    ]
    for wrong, what in refused:
        if wrong:
            raise InputError(f"{source} {what}; the import knows unigram and BPE models of text pieces.", hint=_HINT)
    return SentencePieceModel(
        algorithm=algorithm,
        pieces=tuple(piece for piece, _, _ in pieces),
        scores=tuple(score for _, score, _ in pieces),
        types=tuple(kind for _, _, kind in pieces),
        character_map=normalizer.get(_NORMALIZER_MAP, b""),
        add_prefix=bool(normalizer.get(_NORMALIZER_PREFIX, 1)),
    )


def _piece(fields: dict[int, Any]) -> tuple[str, float, int]:
    score = struct.unpack("<f", fields[2])[0] if 2 in fields else 0.0
    return fields[1].decode("utf-8"), score, fields.get(3, NORMAL)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a message: an integer, or bytes for everything that is not a varint."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, place = _varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {place}")
        if place + length > len(data):
            raise ValueError(f"a field at byte {place} is longer than the file")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError(f"a number at byte {place} is too long")


class CharacterMap:
    """SentencePiece's compiled normalisation: the longest known byte sequence at a place is replaced.

    The table is a double-array trie (the unit layout is that of darts-clone, darts.h) of 32-bit words, followed by
    the replacements, each ended by a zero byte.
    """

    def __init__(self, data: bytes, *, source: str) -> None:
        size = int.from_bytes(data[:4], "little")
        if len(data) < 4 or size % 4 or size == 0 or 4 + size > len(data):
            raise InputError(f"{source}: its normalisation table is damaged.", hint=_HINT)
        self._units = np.frombuffer(data, dtype="<u4", count=size // 4, offset=4).tolist()
        self._texts = data[4 + size :]
        self._source = source

    def __call__(self, text: str) -> str:
        data = text.encode("utf-8")
        out, place = bytearray(), 0
        while place < len(data):
            length, replacement = self._longest(data, place)
            if length == 0:
                length = _utf8_length(data[place])
                replacement = data[place : place + length]
            out += replacement
            place += length
        return out.decode("utf-8", errors="replace")

    def _longest(self, data: bytes, start: int) -> tuple[int, bytes]:
        length, value = 0, -1
        try:
            node = _offset(self._units[0])
            for place in range(start, len(data)):
                node ^= data[place]
                unit = self._units[node]
                if unit & 0x800000FF != data[place]:
                    break
                node ^= _offset(unit)
                if unit >> 8 & 1:
                    length, value = place + 1 - start, self._units[node] & 0x7FFFFFFF
        except IndexError as err:
            raise InputError(f"{self._source}: its normalisation table is damaged.", hint=_HINT) from err
        return length, self._texts[value : self._texts.find(b"\0", value)] if length else b""


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 0x200) >> 6)


def _utf8_length(first: int) -> int:
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
