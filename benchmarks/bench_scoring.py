"""Two systems on one test set, from texts to the paired interval of their difference: 100,000 utterances of 15 words.

Speakers are drawn, 1000 times. No rival draws speakers. kaldialign draws utterances and gives the two intervals and how
often one system was better; jiwer and texterrors give errors and alignments without an interval; the loop that people
write around rapidfuzz gives the number of errors only.
"""

from collections.abc import Callable
from typing import Any

import jiwer
import kaldialign
import numpy as np
from rapidfuzz.distance import Levenshtein
from texterrors import align_texts as texterrors_align

from benchmarks.harness import interleaved, peak_memory
from harken.evaluation.scoring.metrics import score_systems
from harken.evaluation.statistics.paired_tests import PairedDifference, paired_bootstrap

NAME = "scoring"
THREADS = 1
UTTERANCES = 100_000
MEAN_WORDS = 15
VOCABULARY = 20_000
SPEAKERS = 500
ERROR_RATES = (0.12, 0.11)
SAMPLES = 1000
LIMIT_CPU_S = 3.0
LIMIT_BYTES = 1e9
ROUNDS = 3


def make_references(count: int = UTTERANCES, *, seed: int = 0) -> list[list[str]]:
    """Utterances of Zipf-distributed words."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, VOCABULARY + 1)
    lengths = np.maximum(1, draw.poisson(MEAN_WORDS, size=count))
    words = [f"w{number}" for number in draw.choice(VOCABULARY, size=int(lengths.sum()), p=weights / weights.sum())]
    ends = np.cumsum(lengths).tolist()
    return [words[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def make_hypotheses(references: list[list[str]], *, error_rate: float, seed: int) -> list[str]:
    """Copies with substitutions, deletions and insertions in equal parts."""
    draw = np.random.default_rng(seed)
    total = sum(map(len, references))
    chances, others = iter(draw.random(total).tolist()), iter(draw.integers(VOCABULARY, size=total).tolist())
    hypotheses = []
    for reference in references:
        hypothesis = []
        for word, chance, other in zip(reference, chances, others, strict=False):
            if chance < error_rate / 3:
                continue
            hypothesis.append(f"w{other}" if chance < 2 * error_rate / 3 else word)
            if chance > 1 - error_rate / 3:
                hypothesis.append(f"w{other}")
        hypotheses.append(" ".join(hypothesis))
    return hypotheses


def make_texts(count: int = UTTERANCES) -> tuple[list[str], list[list[str]]]:
    """References, and the hypotheses of two systems."""
    references = make_references(count)
    systems = [make_hypotheses(references, error_rate=rate, seed=seed) for seed, rate in enumerate(ERROR_RATES, 1)]
    return [" ".join(words) for words in references], systems


def compare(references: list[str], systems: list[list[str]]) -> PairedDifference:
    """From texts to the difference of the two rates with its interval, by speaker."""
    first, second = score_systems(
        references, {str(n): texts for n, texts in enumerate(systems)}, normalizer="none"
    ).values()
    speakers = [number % SPEAKERS for number in range(len(references))]
    counts = (first.counts.errors, first.counts.words, second.counts.errors, second.counts.words)
    return paired_bootstrap(*counts, speakers, unit="speaker", samples=SAMPLES)


def compare_generated() -> list[float | None]:
    """The comparison, and the texts it needs: what is measured for memory."""
    result = compare(*make_texts())
    return [result.low, result.high]


def by_kaldialign(references: list[str], systems: list[list[str]]) -> object:
    """kaldialign's intervals of two systems, over utterances."""
    words = [[text.split() for text in texts] for texts in (references, *systems)]
    return kaldialign.bootstrap_wer_ci(*words, replications=SAMPLES)


def by_jiwer(references: list[str], systems: list[list[str]]) -> list[float]:
    """jiwer's rates, with alignments."""
    return [jiwer.process_words(references, texts).wer for texts in systems]


def by_texterrors(references: list[str], systems: list[list[str]]) -> list[int]:
    """Errors in texterrors' alignments, without its weighing by letters."""
    errors = []
    for texts in systems:
        pairs = (
            texterrors_align(reference.split(), text.split(), use_chardiff=False)
            for reference, text in zip(references, texts, strict=True)
        )
        errors.append(sum(a != b for one, other, _ in pairs for a, b in zip(one, other, strict=True)))
    return errors


def by_rapidfuzz(references: list[str], systems: list[list[str]]) -> list[int]:
    """Errors by a loop over rapidfuzz's word distance."""
    return [
        sum(Levenshtein.distance(one.split(), other.split()) for one, other in zip(references, texts, strict=True))
        for texts in systems
    ]


def run() -> dict[str, Any]:
    """Rounds in which all score the same texts once."""
    texts = make_texts()
    contenders: dict[str, Callable[[], object]] = {
        "harken": lambda: compare(*texts),
        "kaldialign, intervals by utterance": lambda: by_kaldialign(*texts),
        "jiwer, no interval": lambda: by_jiwer(*texts),
        "texterrors, no interval": lambda: by_texterrors(*texts),
        "rapidfuzz, distance only": lambda: by_rapidfuzz(*texts),
    }
    timings = interleaved(contenders, ROUNDS, warm_up=1)
    ours = timings.pop("harken")
    memory = peak_memory("benchmarks.bench_scoring:compare_generated", threads=THREADS)
    figures = {
        "texts to paired interval": {"value": round(ours.median_cpu_s, 2), "unit": "s CPU", **ours.as_json()},
        "memory, texts included": {"value": round(memory.peak_bytes / 1e6), "unit": "MB"},
    }
    for name, rival in timings.items():
        ratio = rival.median_cpu_s / ours.median_cpu_s
        figures[f"time of {name.split(',')[0]} over ours"] = {"value": round(ratio, 2), "unit": "ratio"}
    return {
        "name": NAME,
        "title": f"Two systems, {UTTERANCES:,} utterances, to a paired {SAMPLES}-sample interval",
        "target": f"at most {LIMIT_CPU_S:g} s of CPU and {LIMIT_BYTES / 1e9:g} GB",
        "met": ours.median_cpu_s <= LIMIT_CPU_S and memory.peak_bytes <= LIMIT_BYTES,
        "figures": figures,
        "rivals": {name: rival.as_json() for name, rival in timings.items()},
    }
