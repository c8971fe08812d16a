"""When the words of a CTC output begin and end.

A CTC model emits an id on one or two frames somewhere within its sound and blanks elsewhere, so the frames of a word's
ids mark the word without covering it: nearly, where ids are letters, and barely, where one id is a word. Each id is
therefore taken to last as long as its letters usually do, around where it was emitted, but not beyond the middle of the
blanks to the next word. On composed digits, whose joins are known, that is nearer to them than the frames alone and
than the middle of the blanks, for units that are words and for letters.
"""

from itertools import pairwise

import numpy as np

from harken.core import Tokenizer, Word
from harken.inference.greedy import Token

LETTER_S = 0.1
"""Seconds a letter lasts; 0.08 to 0.15 s gave medians within 6 ms."""


def time_words(tokens: list[Token], tokenizer: Tokenizer, *, frame_s: float, duration_s: float) -> tuple[Word, ...]:
    """The words of `tokens` with their times and the mean probability of their tokens.

    `frame_s` is the time from one output frame to the next. Times are within [0, duration_s]; words do not overlap.
    """
    pieces = tokenizer.word_pieces([token.id for token in tokens])
    emitted = [(tokens[first].first * frame_s, tokens[end - 1].end * frame_s) for _, first, end in pieces]
    edges_s = [0.0, *((before[1] + after[0]) / 2 for before, after in pairwise(emitted)), duration_s]
    words = []
    for place, (word, first, end) in enumerate(pieces):
        start_s, end_s = emitted[place]
        lasting_s = LETTER_S * len(word) / (end - first)
        before_s = max(0.0, lasting_s - _length(tokens[first]) * frame_s) / 2
        after_s = max(0.0, lasting_s - _length(tokens[end - 1]) * frame_s) / 2
        words.append(
            Word(
                text=word,
                start_s=min(max(edges_s[place], start_s - before_s), duration_s),
                end_s=min(edges_s[place + 1], end_s + after_s, duration_s),
                confidence=float(np.mean([token.probability for token in tokens[first:end]])),
            )
        )
    return tuple(words)


def _length(token: Token) -> int:
    return token.end - token.first
