"""How long after each word was spoken a listener of a stream saw it, and saw it for good."""

from collections.abc import Sequence
from dataclasses import dataclass

from harken.core import Word
from harken.evaluation.scoring.alignment import align_words
from harken.text import find_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardWord:
    """A committed word of a stream, with the seconds from the beginning of the audio at which it was first shown in
    its final place and at which it was committed, computing included.
    """

    text: str
    shown_s: float
    committed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WordLatencies:
    """Seconds from the end of each word until it was first shown in its final place, and until it was committed.

    Both have the same words in the order spoken: those that were recognised as they are timed. A latency is below 0
    where a word was known before it was over.
    """

    shown_s: tuple[float, ...]
    committed_s: tuple[float, ...]


def word_latencies(times: Sequence[Word], heard: Sequence[HeardWord], *, normalizer: str = "none") -> WordLatencies:
    """Latencies of the words of `heard` that `times`, words with their times in the audio, have too.

    Both sides are normalised word by word and aligned; one that becomes empty is left out. Raises InputError for an
    unknown profile.
    """
    profile = find_profile(normalizer)
    said = [(text, word.end_s) for word in times if (text := profile.function(word.text))]
    seen = [(text, word) for word in heard if (text := profile.function(word.text))]
    ends, words = iter(said), iter(seen)
    shown_s, committed_s = [], []
    for operation in align_words([text for text, _ in said], [text for text, _ in seen]):
        end_s = None if operation.kind == "I" else next(ends)[1]
        word = None if operation.kind == "D" else next(words)[1]
        if operation.kind == "C" and end_s is not None and word is not None:
            shown_s.append(word.shown_s - end_s)
            committed_s.append(word.committed_s - end_s)
    return WordLatencies(shown_s=tuple(shown_s), committed_s=tuple(committed_s))
