"""Greedy CTC decoding: the best id of each frame, repeats merged, blanks removed (Graves et al. 2006, section 3.2).

Shapes: B batch, T output frames, V vocab.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harken.core import Segment, Tokenizer, Transcript, Word

BLANK = 0
PAUSE_S = 1.0  # a silence between two words that ends a segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One emitted id with the frames `[first, end)` it was the best of, and its mean probability there."""

    id: int
    first: int
    end: int
    probability: float


def collapse(ids_T: npt.NDArray[np.int64], probabilities_T: npt.NDArray[np.float32]) -> list[Token]:
    """Tokens of one utterance from the best id and its probability in each frame."""
    if not len(ids_T):
        return []
    starts = np.flatnonzero(np.concatenate([[True], ids_T[1:] != ids_T[:-1]]))
    ends = np.append(starts[1:], len(ids_T))
    sums = np.add.reduceat(probabilities_T, starts)
    return [
        Token(id=int(ids_T[first]), first=int(first), end=int(end), probability=float(total / (end - first)))
        for first, end, total in zip(starts, ends, sums, strict=True)
        if ids_T[first] != BLANK
    ]


def transcript_of(
    tokens: list[Token], tokenizer: Tokenizer, *, frame_s: float, duration_s: float, language: str | None = None
) -> Transcript:
    """Text and timed words of one utterance. `frame_s` is the time from one output frame to the next.

    Times are those of the frames where the model emitted the word's pieces; CTC emits late and briefly, so they mark
    where a word is, not exactly how long it lasts. A segment ends where nothing is said for `PAUSE_S`.
    """
    ids = [token.id for token in tokens]
    text = tokenizer.decode(ids)
    words = tuple(
        Word(
            text=word,
            start_s=tokens[first].first * frame_s,
            end_s=min(tokens[end - 1].end * frame_s, duration_s),
            confidence=float(np.mean([token.probability for token in tokens[first:end]])),
        )
        for word, first, end in tokenizer.word_pieces(ids)
    )
    return Transcript(text=text, duration_s=duration_s, segments=tuple(_segments(words)), language=language)


def _segments(words: Sequence[Word]) -> Iterator[Segment]:
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(words), start=1) if b.start_s - a.end_s >= PAUSE_S)]
    for first, end in pairwise([*starts, len(words)]):
        if own := tuple(words[first:end]):
            text = " ".join(word.text for word in own)
            yield Segment(text=text, start_s=own[0].start_s, end_s=own[-1].end_s, words=own)
