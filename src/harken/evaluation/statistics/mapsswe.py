"""The matched-pair sentence-segment word-error test (MAPSSWE), step by step as NIST's `sc_stats` does it.

L. Gillick and S. Cox, "Some statistical issues in the comparison of speech recognition algorithms", ICASSP 1989;
segmentation: `test_comp_sents` in src/sclite/mtchprs.c of SCTK. A segment begins where either system makes an error
and closes after two words in a row that both have right, with nothing inserted between them; the end of the utterance
closes it too. The differences of the segments' error counts are taken as independent, which they are not where the
systems suit some speakers better.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.scoring.encode import Offsets
from harken.evaluation.scoring.lattice import CORRECT, INSERTED, Codes

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapsswe:
    """Result of the test: errors of B minus errors of A per segment, so above zero means that B makes more.

    `sc_stats` subtracts the other way round: give it B first for the same signs. `mean` is None without any error.
    `z` is 0 where all segments differ by the same amount, as there; unless that is none, there is no `p_value` then.
    `p_value` is two-sided, from the normal distribution, which wants some fifty segments.
    """

    segments: int
    mean: float | None
    sd: float | None
    z: float | None
    p_value: float | None
    note: str = ""


FEW_SEGMENTS = 50


def mapsswe(codes_a: Codes, offsets_a: Offsets, codes_b: Codes, offsets_b: Offsets) -> Mapsswe:
    """Test two alignments of the same references, given as in `CorpusAlignment` (codes and offsets).

    Raises InputError where an utterance has different numbers of reference words.
    """
    errors_a, errors_b = segment_errors(codes_a, offsets_a, codes_b, offsets_b)
    count = len(errors_a)
    if count == 0:
        return Mapsswe(segments=0, mean=None, sd=None, z=None, p_value=None, note="There is no error to compare.")
    differences = np.sort(errors_b - errors_a)  # sums to the same last bit whatever the order of the test set
    mean = float(differences.mean())
    sd = float(differences.std(ddof=1)) if np.ptp(differences) else 0.0
    z = mean / (sd / count**0.5) if sd else 0.0
    note = f"Only {count} segments: the normal approximation is rough." if count < FEW_SEGMENTS else ""
    p_value: float | None = 2 * NormalDist().cdf(-abs(z))
    if mean and not sd:
        p_value, note = None, "All segments differ by the same amount, so there is no spread to compare it with."
    return Mapsswe(segments=count, mean=mean, sd=sd, z=z, p_value=p_value, note=note)


def segment_errors(codes_a: Codes, offsets_a: Offsets, codes_b: Codes, offsets_b: Offsets) -> tuple[Counts, Counts]:
    """(segments,) errors of A and of B in each segment that has any, in order."""
    words, bad_a, inserted_a = _by_word(codes_a, offsets_a)
    words_b, bad_b, inserted_b = _by_word(codes_b, offsets_b)
    if not np.array_equal(words, words_b):
        raise InputError("The alignments differ in reference words.", hint="Compare systems on the same references.")
    # Place n of an utterance is its word n with what is inserted before it; one more place takes what comes last.
    starts = np.cumsum(words + 1) - (words + 1)
    good = ~bad_a & ~bad_b
    good[starts + words] = False
    closes = np.zeros(len(good), dtype=np.int64)
    closes[1:] = good[1:] & good[:-1] & (inserted_a[1:] + inserted_b[1:] == 0)
    # Two words of different utterances never close a segment: between them stands the last place of the first. But
    # every utterance opens a new one.
    closes[starts] += 1
    segment = np.cumsum(closes) - 1
    sums = [
        np.bincount(segment, weights=bad + inserted) for bad, inserted in ((bad_a, inserted_a), (bad_b, inserted_b))
    ]
    errors_a, errors_b = (total.astype(np.int64) for total in sums)
    some = (errors_a > 0) | (errors_b > 0)
    return errors_a[some], errors_b[some]


def _by_word(codes: Codes, offsets: Offsets) -> tuple[Counts, npt.NDArray[np.bool_], Counts]:
    """(utterances,) reference words; (places,) whether the word is wrong, and how many were inserted before it."""
    is_word = codes != INSERTED
    words = np.diff(np.concatenate(([0], np.cumsum(is_word)))[offsets])
    utterance = np.repeat(np.arange(len(words)), np.diff(offsets))
    place = np.cumsum(is_word) - is_word + utterance  # one extra place for each utterance before
    places = int(words.sum()) + len(words)
    bad = np.zeros(places, dtype=bool)
    bad[place[is_word]] = codes[is_word] != CORRECT
    return words, bad, np.bincount(place[~is_word], minlength=places)
