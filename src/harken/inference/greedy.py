"""Greedy CTC decoding: the best id of each frame, repeats merged, blanks removed (Graves et al. 2006, section 3.2).

Shapes: B batch, T output frames, V vocab.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.core import Segment, Tokenizer, Transcript, Word

BLANK = 0


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
    where a word is, not exactly how long it lasts.
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
    segments = (Segment(text=text, start_s=words[0].start_s, end_s=words[-1].end_s, words=words),) if words else ()
    return Transcript(text=text, duration_s=duration_s, segments=segments, language=language)
