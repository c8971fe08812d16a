"""How mixed the languages of a test set are, whatever a recogniser makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.evaluation.code_switching.switch_points import NO_LANGUAGE, Numbers, find_switches


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageMix:
    """Descriptors of a labelled set of utterances; words of no language count in none of them.

    `cmi`: code-mixing index, the mean over utterances of 1 - (words of its main language) / (its words); 0 for one
    without words. B. Gambäck and A. Das, "On measuring the complexity of code-mixing", ICON 2014; theirs is times 100.
    `cmi_switched`: the same over utterances with more than one language.

    `m_index`: 0 for one language, 1 where all have equally many words: (1 - Σ p²) / ((k - 1) Σ p²), p the share of
    each of k languages. R. Barnett et al., "The LIDES coding manual", 2000.

    `i_index`: switch points over neighbouring pairs of words, which is how often a speaker switches where that is
    possible. G. Guzmán et al., "Metrics for modeling code-switching across corpora", Interspeech 2017; they take the
    set as one text, here pairs lie inside utterances.
    """

    utterances: int
    switched_utterances: int
    switch_points: int
    words: Mapping[str, int]
    cmi: float | None
    cmi_switched: float | None
    m_index: float | None
    i_index: float | None

    @property
    def reasons(self) -> dict[str, str]:
        """Why a figure is None, by its name."""
        found = {}
        if self.cmi is None:
            found["cmi"] = "There are no utterances."
        if self.cmi_switched is None:
            found["cmi_switched"] = "No utterance has words of two languages."
        if self.m_index is None:
            found["m_index"] = "The references have fewer than two languages."
        if self.i_index is None:
            found["i_index"] = "No utterance has two words that are in a language."
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "cmi": self.cmi,
            "cmi_switched": self.cmi_switched,
            "m_index": self.m_index,
            "i_index": self.i_index,
            "utterances": self.utterances,
            "switched_utterances": self.switched_utterances,
            "switch_points": self.switch_points,
            "words": dict(self.words),
        }


def describe_mix(languages: Numbers, utterances: Numbers, names: Sequence[str], *, count: int) -> LanguageMix:
    """Descriptors of `count` utterances.

    `languages` is (words,) the number of each word's language, `utterances` (words,) the number of its utterance;
    language n is called `names[n]`, and number 0 is none.
    """
    words_UL = count_words(languages, utterances, kinds=len(names), count=count)[:, NO_LANGUAGE + 1 :]
    in_language, main = words_UL.sum(axis=1), words_UL.max(axis=1, initial=0)
    mixing = 1 - main / np.maximum(in_language, 1)
    mixing[in_language == 0] = 0
    mixed = main < in_language
    totals = words_UL.sum(axis=0)
    present = totals[totals > 0]
    switches = find_switches(languages, utterances)
    pairs = int(np.maximum(in_language - 1, 0).sum())
    return LanguageMix(
        utterances=count,
        switched_utterances=len(np.unique(switches.utterance)),
        switch_points=len(switches),
        words=dict(zip(names[NO_LANGUAGE + 1 :], totals.tolist(), strict=True)),
        cmi=fsum(mixing) / count if count else None,  # fsum: the same last bit whatever the order of utterances
        cmi_switched=fsum(mixing[mixed]) / int(mixed.sum()) if mixed.any() else None,
        m_index=_m_index(present) if len(present) > 1 else None,
        i_index=len(switches) / pairs if pairs else None,
    )


def count_words(languages: Numbers, utterances: Numbers, *, kinds: int, count: int) -> Numbers:
    """(utterances, languages) words of each language in each of `count` utterances; `kinds` with none included."""
    return np.bincount(utterances * kinds + languages, minlength=count * kinds).reshape(count, kinds)


def _m_index(words: npt.NDArray[np.int64]) -> float:
    shares = words / words.sum()
    squares = float(shares @ shares)
    return (1 - squares) / ((len(words) - 1) * squares)
