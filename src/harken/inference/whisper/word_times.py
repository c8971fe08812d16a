"""When each word was said, from the cross-attention of the decoder.

The method of OpenAI's whisper/timing.py (Radford et al. 2022; dynamic time warping after Sakoe and Chiba 1978): heads
that follow the audio are averaged after normalisation and a median filter, and the best monotonic path through their
weights gives each token its place.

Shapes: H heads, T tokens, P positions of the encoder.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harken.core import Word
from harken.inference.whisper.backend import POSITION_S, Alignment
from harken.text.whisper_tokenizer import WhisperTokenizer

MEDIAN_WIDTH = 7
PREPENDED = "\"'“¿([{-«„"
APPENDED = "\"'.。,，!！?？:：”)]}、»…"
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
_LONGEST_TYPICAL_S = 0.7  # the median word counts as at most so long
_SENTENCE_ENDS = ".。!！?？"

Float = npt.NDArray[np.float32]


def align_tokens(scores_HTP: Float, *, first: int, tokens: int) -> npt.NDArray[np.int64]:
    """(tokens + 1,) positions where each text token begins, and where the last ends.

    `scores_HTP` are attention scores before the softmax, over the positions that hold sound; row `first` is the one
    that predicts the first text token, and the sequence ends with one token behind the last.
    """
    if scores_HTP.shape[2] < 2:
        return np.zeros(tokens + 1, np.int64)
    weights = np.exp(scores_HTP - scores_HTP.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    deviation = weights.std(axis=1, keepdims=True)
    weights = (weights - weights.mean(axis=1, keepdims=True)) / np.maximum(deviation, 1e-10)
    mean_TP = median_filter(weights, MEDIAN_WIDTH).mean(axis=0)
    path = warp(-mean_TP[first : first + tokens + 1].astype(np.float64))
    return token_positions(path, tokens=tokens)


def token_positions(path: npt.NDArray[np.int64], *, tokens: int) -> npt.NDArray[np.int64]:
    """(tokens + 1,) first position of each token on a path of (token, position) pairs."""
    starts = np.concatenate([[True], np.diff(path[:, 0]) > 0])
    positions: npt.NDArray[np.int64] = path[starts, 1].astype(np.int64)
    assert len(positions) == tokens + 1, f"{len(positions)} tokens on the path, not {tokens + 1}"
    return positions


def median_filter(values: Float, width: int) -> Float:
    """Median of `width` neighbours along the last axis, mirrored at its ends; short axes are left as they are."""
    half = width // 2
    if values.shape[-1] <= half:
        return values
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)
    filtered: Float = np.partition(windows, half, axis=-1)[..., half]
    return filtered


def warp(cost_TP: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """(steps, 2) cheapest monotonic path of (token, position) pairs from one corner of a cost matrix to the other.

    Sums are taken along anti-diagonals, whose cells do not depend on one another. Where steps are equally cheap the
    path stays on a token, as OpenAI's does.
    """
    tokens, positions = cost_TP.shape
    rows = np.arange(tokens + 1)
    # Row d of these holds the cells (i, d - i): two diagonals back is the diagonal step, one back the two others.
    before = np.full(tokens + 1, np.inf)
    here = np.full(tokens + 1, np.inf)
    before[0] = 0.0
    steps = np.zeros((tokens + positions + 1, tokens + 1), np.int8)
    for diagonal in range(2, tokens + positions + 1):
        lowest, highest = max(1, diagonal - positions), min(tokens, diagonal - 1)
        i = rows[lowest : highest + 1]
        both, token, stay = before[i - 1], here[i - 1], here[i]
        step = np.where((both < token) & (both < stay), 0, np.where((token < both) & (token < stay), 1, 2))
        after = np.full(tokens + 1, np.inf)
        after[i] = cost_TP[i - 1, diagonal - i - 1] + np.choose(step, [both, token, stay])
        steps[diagonal, i] = step
        before, here = here, after
    return _walk_back(steps, tokens, positions)


def _walk_back(steps: npt.NDArray[np.int8], token: int, position: int) -> npt.NDArray[np.int64]:
    path = []
    while token > 0 or position > 0:
        path.append((token - 1, position - 1))
        step = 2 if token == 0 else 1 if position == 0 else int(steps[token + position, token])
        token -= step != 2
        position -= step != 1
    return np.array(path[::-1], np.int64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Text of the tokens [first, end); `glued` to the piece before it, without a space."""

    text: str
    first: int
    end: int
    glued: bool = False


def words_of(tokenizer: WhisperTokenizer, ids: Sequence[int], alignment: Alignment) -> list[Word]:
    """Words with their times from the start of the window; punctuation by itself belongs to its neighbour.

    Confidence is the mean probability of a word's tokens. A word beside a sentence's end that seems to last longer
    than two ordinary words has taken up the pause, and is cut.
    """
    pieces = [
        piece
        for text, first, end in tokenizer.word_pieces(ids)
        for piece in _split_unspaced(tokenizer, ids, _Piece(text=text, first=first, end=end))
    ]
    words = []
    for piece in _join_punctuation(pieces):
        start, stop = alignment.positions[piece.first], alignment.positions[piece.end]
        words.append(
            Word(
                text=piece.text,
                start_s=float(start) * POSITION_S,
                end_s=float(stop) * POSITION_S,
                confidence=float(alignment.probabilities[piece.first : piece.end].mean()),
            )
        )
    return _without_pauses(words)


def _without_pauses(words: list[Word]) -> list[Word]:
    lengths = [word.end_s - word.start_s for word in words if word.end_s > word.start_s]
    longest_s = 2 * min(_LONGEST_TYPICAL_S, float(np.median(lengths))) if lengths else 0.0
    cut = []
    for place, word in enumerate(words):
        start_s, end_s = word.start_s, word.end_s
        if end_s - start_s > longest_s:
            if word.text[-1] in _SENTENCE_ENDS or place == len(words) - 1:
                end_s = start_s + longest_s
            elif place == 0 or words[place - 1].text[-1] in _SENTENCE_ENDS:
                start_s = end_s - longest_s
        cut.append(replace(word, start_s=start_s, end_s=end_s))
    return cut


def _join_punctuation(pieces: Sequence[_Piece]) -> list[_Piece]:
    joined: list[_Piece] = []
    opening: _Piece | None = None
    for piece in pieces:
        merged = piece if opening is None else _merge(opening, piece)
        if opening is None and joined and all(character in APPENDED for character in piece.text):
            joined[-1] = _merge(joined[-1], piece)
        elif all(character in PREPENDED for character in piece.text):
            opening = merged
        else:
            joined.append(merged)
            opening = None
    return joined if opening is None else [*joined, opening]


def _merge(left: _Piece, right: _Piece) -> _Piece:
    space = "" if right.glued else " "
    return _Piece(text=f"{left.text}{space}{right.text}", first=left.first, end=right.end, glued=left.glued)


def _split_unspaced(tokenizer: WhisperTokenizer, ids: Sequence[int], word: _Piece) -> list[_Piece]:
    """Text of a script without spaces, cut behind every token that ends a whole character."""
    if not is_unspaced(word.text[0]):
        return [word]
    cut: list[_Piece] = []
    start = word.first
    for stop in range(word.first + 1, word.end + 1):
        text = tokenizer.decode(ids[start:stop])
        if text and "\ufffd" not in text:
            cut.append(_Piece(text=text, first=start, end=stop, glued=bool(cut)))
            start = stop
    return cut if start == word.end else [word]


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that is written without spaces between words."""
    return unicodedata.name(character, "").startswith(_UNSPACED)


def join_texts(texts: Sequence[str]) -> str:
    """Texts one after the other, with a space between them where their script has spaces."""
    joined = ""
    for text in texts:
        spaced = joined and text and not (is_unspaced(joined[-1]) or is_unspaced(text[0]))
        joined += f" {text}" if spaced else text
    return joined
