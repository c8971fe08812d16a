"""Words out of nowhere: runs of insertions, loops, words in silence, more letters than anybody can say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harken.core import Strict, Utterance
from harken.evaluation.errors.operations import Mask, Numbers, check_order, find_runs, operations_of
from harken.evaluation.scoring.encode import EncodedTexts, Ids
from harken.evaluation.scoring.lattice import INSERTED
from harken.evaluation.scoring.metrics import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class HallucinationConfig(Strict):
    """What counts as a hallucination.

    `insertion_run` or more words inserted in a row. A sequence of up to `longest_loop` words said `repeats` times or
    more in a row where the reference does not say it as often (`repeats` - 1 times less, or fewer), nor, in the aligned
    place, another one of as many words: "5 5 5" for "five five five" is none. More than
    `characters_per_s` characters per second of audio, where that is also `rate_ratio` times what the reference has.
    `listed` utterances are named at most; the counts are of all.
    """

    insertion_run: int = 4
    repeats: int = 3
    longest_loop: int = 5
    characters_per_s: float = 30.0
    rate_ratio: float = 1.5
    listed: int = 500

    def __post_init__(self) -> None:
        for name, least in (("insertion_run", 1), ("repeats", 2), ("longest_loop", 1), ("listed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; use {least} or more")
        if not self.characters_per_s > 0:
            raise ValueError(f"characters_per_s is {self.characters_per_s}; use a rate above 0")
        if not self.rate_ratio >= 1:
            raise ValueError(f"rate_ratio is {self.rate_ratio}; use 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One hallucination: the number of its utterance, its kind, what was seen, and how many words it is about."""

    utterance: int
    kind: str
    detail: str
    words: int


KINDS = {
    "insertion_runs": "insertion-run",
    "repetitions": "repetition",
    "on_empty": "on-empty",
    "speaking_rate": "speaking-rate",
}
"""Keys of the counts, and the kind each counts."""


def find_hallucinations(
    score: Score, utterances: Sequence[Utterance], config: HallucinationConfig | None = None
) -> list[Finding]:
    """Every hallucination, by utterance and kind, one of a kind for each utterance: the longest.

    Raises InputError unless `utterances` are the scored ones in the scored order.
    """
    check_order(score, utterances)
    config = config or HallucinationConfig()
    found = [
        *_insertion_runs(score, config),
        *_repetitions(score, config),
        *_on_empty(score),
        *_speaking_rates(score, utterances, config),
    ]
    order = list(KINDS.values())
    found.sort(key=lambda finding: (finding.utterance, order.index(finding.kind), -finding.words))
    return list({(finding.utterance, finding.kind): finding for finding in reversed(found)}.values())[::-1]


def hallucinations(
    score: Score, utterances: Sequence[Utterance], config: HallucinationConfig | None = None
) -> dict[str, Any]:
    """{"insertion_runs", "repetitions", "on_empty", "speaking_rate", "utterances"}.

    The first four count utterances; "utterances" lists {"id", "kind", "detail", "words"}, most words first.
    """
    config = config or HallucinationConfig()
    return summarize_hallucinations(score, find_hallucinations(score, utterances, config), config)


def summarize_hallucinations(score: Score, found: Sequence[Finding], config: HallucinationConfig) -> dict[str, Any]:
    """What `hallucinations` returns, from findings already made."""
    kinds = [finding.kind for finding in found]
    ranked = sorted(found, key=lambda finding: (-finding.words, finding.utterance))
    return {
        **{key: kinds.count(kind) for key, kind in KINDS.items()},
        "utterances": [
            {"id": score.ids[one.utterance], "kind": one.kind, "detail": one.detail, "words": one.words}
            for one in ranked[: config.listed]
        ],
    }


def _insertion_runs(score: Score, config: HallucinationConfig) -> list[Finding]:
    operations, words = operations_of(score.alignments), score.alignments.words
    starts, ends = find_runs(operations.codes == INSERTED, operations.utterance)
    long = ends - starts >= config.insertion_run
    found = []
    for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        inserted = _shown(
            [words[id_] for id_ in operations.hypothesis[start : min(end, start + 12)].tolist()], end - start
        )
        found.append(
            Finding(
                utterance=int(operations.utterance[start]),
                kind="insertion-run",
                detail=f"{end - start} words inserted in a row: {inserted}",
                words=end - start,
            )
        )
    return found


def _repetitions(score: Score, config: HallucinationConfig) -> list[Finding]:
    references, hypotheses, words = score.alignments.references, score.alignments.hypotheses, score.alignments.words
    utterance = np.repeat(np.arange(len(hypotheses)), hypotheses.lengths)
    before, behind = _aligned_places(score)
    found = []
    for size in range(1, config.longest_loop + 1):
        # Where a word equals the one `size` further on, for (n - 1) * size words, the same `size` words stand n times.
        equal = (hypotheses.ids[size:] == hypotheses.ids[:-size]) & (utterance[size:] == utterance[:-size])
        starts, ends = find_runs(equal, utterance[:-size])
        long = ends - starts >= (config.repeats - 1) * size
        for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
            row = int(utterance[start])
            loop, count = hypotheses.ids[start : start + size].astype(np.int64), (end - start) // size + 1
            if size > 1 and _has_period(loop):
                continue  # found already as a shorter loop
            beside = references.ids[before[start] : behind[end + size - 1]]
            said = max(1, _most_in_a_row(_row(references, row), loop), _most_repeated(beside, size))
            if count - said >= config.repeats - 1:
                text = " ".join(words[id_] for id_ in loop.tolist())
                detail = f"{text!r} {count} times in a row"
                found.append(Finding(utterance=row, kind="repetition", detail=detail, words=(count - said) * size))
    return found


def _aligned_places(score: Score) -> tuple[Numbers, Numbers]:
    """(hypothesis words,) how many reference words of the set stand before each word, and up to and with it."""
    operations = operations_of(score.alignments)
    heard = operations.hypothesis >= 0
    return operations.place[heard], (operations.place + (operations.reference >= 0))[heard]


def _on_empty(score: Score) -> list[Finding]:
    hypotheses, words = score.alignments.hypotheses, score.alignments.words
    found = []
    for row in np.flatnonzero((score.counts.words == 0) & (hypotheses.lengths > 0)).tolist():
        ids = _row(hypotheses, row).tolist()
        shown = _shown([words[id_] for id_ in ids[:12]], len(ids))
        detail = f"{len(ids)} words where the reference has none: {shown}"
        found.append(Finding(utterance=row, kind="on-empty", detail=detail, words=len(ids)))
    return found


def _speaking_rates(score: Score, utterances: Sequence[Utterance], config: HallucinationConfig) -> list[Finding]:
    alignments = score.alignments
    sizes = np.fromiter(map(len, alignments.words), np.int64, len(alignments.words))
    reference, hypothesis = (_sum_rows(texts, sizes) for texts in (alignments.references, alignments.hypotheses))
    duration_s = np.fromiter((utterance.duration_s for utterance in utterances), np.float64, len(utterances))
    fast = (hypothesis > config.characters_per_s * duration_s) & (hypothesis >= config.rate_ratio * reference)
    return [
        Finding(
            utterance=row,
            kind="speaking-rate",
            detail=f"{hypothesis[row] / duration_s[row]:.0f} characters per second, "
            f"the reference has {reference[row] / duration_s[row]:.0f}",
            words=int(alignments.hypotheses.lengths[row]),
        )
        for row in np.flatnonzero(fast).tolist()
    ]


def _sum_rows(texts: EncodedTexts, sizes: Numbers) -> Numbers:
    """(texts,) characters of the words of each text, spaces left out."""
    return np.diff(np.concatenate(([0], np.cumsum(sizes[texts.ids])))[texts.offsets])


def _row(texts: EncodedTexts, row: int) -> Numbers:
    return texts.ids[texts.offsets[row] : texts.offsets[row + 1]].astype(np.int64)


def _has_period(loop: Numbers) -> bool:
    """Whether a sequence is a shorter one repeated."""
    return any(
        len(loop) % size == 0 and bool(np.all(loop[size:] == loop[:-size])) for size in range(1, len(loop) // 2 + 1)
    )


def _most_in_a_row(ids: Numbers, loop: Numbers) -> int:
    """How often `loop` follows itself at most in `ids`, whichever of its words a repetition begins with."""
    size = len(loop)
    if len(ids) < size:
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(ids, size)
    turned = [np.roll(loop, shift) for shift in range(size)]
    here: Mask = np.any([np.all(windows == turn, axis=1) for turn in turned], axis=0)
    starts, ends = find_runs(here, np.zeros(len(here), dtype=np.int64))
    return int(((ends - starts - 1) // size).max() + 1) if len(starts) else 0


def _most_repeated(ids: Ids, size: int) -> int:
    """How often any sequence of `size` words follows itself at most in `ids`; 1 where none does."""
    starts, ends = find_runs(ids[size:] == ids[:-size], np.zeros(max(len(ids) - size, 0), dtype=np.int64))
    return int((ends - starts).max(initial=0)) // size + 1


def _shown(words: Sequence[str], total: int) -> str:
    return " ".join(words) + (" ..." if total > len(words) else "")
