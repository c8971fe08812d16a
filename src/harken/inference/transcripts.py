"""From the tokens of a CTC output to a transcript: text, timed words, segments."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from harken.core import Segment, Tokenizer, Transcript, Word
from harken.inference.ctc.word_times import time_words
from harken.inference.greedy import Token

PAUSE_S = 1.0  # a silence between two words that ends a segment


def transcript_of(
    tokens: list[Token], tokenizer: Tokenizer, *, frame_s: float, duration_s: float, language: str | None = None
) -> Transcript:
    """Text and timed words of one utterance. `frame_s` is the time from one output frame to the next.

    A segment ends where nothing is said for `PAUSE_S`. Word times are those of `time_words`.
    """
    text = tokenizer.decode([token.id for token in tokens])
    words = time_words(tokens, tokenizer, frame_s=frame_s, duration_s=duration_s)
    return Transcript(text=text, duration_s=duration_s, segments=tuple(_segments(words)), language=language)


def _segments(words: Sequence[Word]) -> Iterator[Segment]:
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(words), start=1) if b.start_s - a.end_s >= PAUSE_S)]
    for first, end in pairwise([*starts, len(words)]):
        if own := tuple(words[first:end]):
            text = " ".join(word.text for word in own)
            yield Segment(text=text, start_s=own[0].start_s, end_s=own[-1].end_s, words=own)
