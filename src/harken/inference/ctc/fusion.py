"""What a beam search knows about a text beside the sound: a language model of words, and hotwords.

Shallow fusion at word boundaries: a text of words w gains `lm_weight` * ln p(w, </s>) + `word_bonus` for each word
(Graves and Jaitly 2014; Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech Recognition using
Bi-Directional Recurrent DNNs"). A word is scored once it is complete, but one that no known word begins with is taken
for unknown at once: the penalty moves forward, and the sum stays what it was.
"""

import unicodedata
from bisect import bisect_left
from typing import Any, NamedTuple

from harken.inference.ctc.hotwords import HotwordMatcher
from harken.inference.ctc.language_model import NgramModel


class Context(NamedTuple):
    """Where a text stands: what it has gained, its unfinished word, and the states of the models.

    `ahead` is the part of the score that is for the unfinished word.
    """

    score: float
    ahead: float
    word: str
    lm_state: Any
    match: int


class Fusion:
    """Scores of texts that grow unit by unit."""

    def __init__(
        self,
        strings: tuple[str, ...],
        *,
        lm: NgramModel | None,
        lm_weight: float,
        word_bonus: float,
        unknown_letter: float,
        hotwords: HotwordMatcher | None,
    ) -> None:
        """`strings` as `unit_strings` gives them. `unknown_letter` nats are added for each letter of unknown words: a
        penalty for each word would make the best of many unknown ones by running them together.
        """
        self._strings = strings
        self._lm, self._hotwords = lm, hotwords
        self._lm_weight, self._word_bonus, self._unknown_letter = lm_weight, word_bonus, unknown_letter
        self._known = [] if lm is None else sorted(lm.words())

    def start(self) -> Context:
        """The context of the empty text."""
        state = None if self._lm is None else self._lm.start()
        return Context(0.0, 0.0, "", state, 0 if self._hotwords is None else self._hotwords.start)

    def extend(self, context: Context, id_: int) -> Context:
        """The context with one more unit."""
        score, ahead, word, state, match = context
        string = self._strings[id_]
        if self._lm is not None:
            *complete, word = (word + string).split(" ")
            for one in complete:
                if one:
                    gained, state = self._score_word(self._lm, state, one)
                    score += gained
            score -= ahead
            ahead = 0.0 if self._may_be_known(word) else self._unknown_letter * len(word)
            score += ahead
        if self._hotwords is not None:
            match, gained = self._hotwords.step(match, string)
            score += gained
        return Context(score, ahead, word, state, match)

    def finish(self, context: Context) -> float:
        """What the text has gained, complete as it is."""
        score, ahead, word, state, match = context
        if self._lm is not None:
            if word:
                gained, state = self._score_word(self._lm, state, word)
                score += gained - ahead
            score += self._lm_weight * self._lm.end(state)
        return score if self._hotwords is None else score + self._hotwords.finish(match)

    def _may_be_known(self, beginning: str) -> bool:
        """Whether a known word begins so; without a list of words, any may be."""
        beginning = unicodedata.normalize("NFC", beginning)
        place = bisect_left(self._known, beginning)
        return not self._known or (place < len(self._known) and self._known[place].startswith(beginning))

    def _score_word(self, lm: NgramModel, state: Any, word: str) -> tuple[float, Any]:
        word = unicodedata.normalize("NFC", word)  # as tokenizers write it
        score, after = lm.score(state, word)
        unknown = 0.0 if word in lm else self._unknown_letter * len(word)
        return self._lm_weight * score + self._word_bonus + unknown, after
