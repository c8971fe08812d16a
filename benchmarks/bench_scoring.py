"""From texts to a WER with its interval: 100,000 pairs of about 15 words.

The rivals give no interval: jiwer, and the loop people write around rapidfuzz, which gives no alignment either.
"""

from collections.abc import Callable
from typing import Any

import jiwer
import numpy as np
from rapidfuzz.distance import Levenshtein

from benchmarks.harness import interleaved
from harken.evaluation.metrics import score
from harken.evaluation.statistics import bootstrap_interval

NAME = "scoring"
THREADS = 1
PAIRS = 100_000
MEAN_WORDS = 15
VOCABULARY = 20_000
ERROR_RATE = 0.12
SAMPLES = 1000
LIMIT_CPU_S = 5.0
ROUNDS = 3


def make_pairs(count: int = PAIRS, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """References with Zipf-distributed words, and copies with substitutions, deletions and insertions."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, VOCABULARY + 1)
    lengths = np.maximum(1, draw.poisson(MEAN_WORDS, size=count))
    drawn = draw.choice(VOCABULARY, size=int(lengths.sum()), p=weights / weights.sum())
    chance, other = draw.random(drawn.size), draw.integers(VOCABULARY, size=drawn.size)
    references, hypotheses = [], []
    start = 0
    for length in lengths.tolist():
        reference, hypothesis = [], []
        for place in range(start, start + length):
            word = f"w{drawn[place]}"
            reference.append(word)
            if chance[place] < ERROR_RATE / 3:
                continue
            hypothesis.append(f"w{other[place]}" if chance[place] < 2 * ERROR_RATE / 3 else word)
            if chance[place] > 1 - ERROR_RATE / 3:
                hypothesis.append(f"w{other[place]}")
        references.append(" ".join(reference))
        hypotheses.append(" ".join(hypothesis))
        start += length
    return references, hypotheses


def with_interval(references: list[str], hypotheses: list[str]) -> float | None:
    """Alignment, WER and its interval, from plain texts."""
    result = score(references, hypotheses, normalizer="none")
    bootstrap_interval(result.counts.errors, result.counts.words, samples=SAMPLES)
    return result.wer


def distance_only(references: list[str], hypotheses: list[str]) -> float:
    """WER by a loop over rapidfuzz's word distance."""
    pairs = [
        (reference.split(), hypothesis.split()) for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    return sum(Levenshtein.distance(*pair) for pair in pairs) / sum(len(reference) for reference, _ in pairs)


def run() -> dict[str, Any]:
    """Rounds in which all score the same pairs once."""
    references, hypotheses = make_pairs()
    contenders: dict[str, Callable[[], object]] = {
        "harken, with interval": lambda: with_interval(references, hypotheses),
        "jiwer, no interval": lambda: jiwer.wer(references, hypotheses),
        "rapidfuzz, distance only": lambda: distance_only(references, hypotheses),
    }
    timings = interleaved(contenders, ROUNDS, warm_up=1)
    ours, rival, loop = (timings[name] for name in contenders)
    ratio = rival.median_cpu_s / ours.median_cpu_s
    return {
        "name": NAME,
        "title": f"WER and a {SAMPLES}-sample interval of {PAIRS:,} pairs",
        "target": f"at most {LIMIT_CPU_S:g} s of CPU",
        "met": ours.median_cpu_s <= LIMIT_CPU_S,
        "figures": {
            "alignment, WER and interval": {"value": round(ours.median_cpu_s, 2), "unit": "s CPU", **ours.as_json()},
            "jiwer's time over ours": {"value": round(ratio, 2), "unit": "ratio"},
        },
        "rivals": {"jiwer": rival.as_json(), "rapidfuzz, distance only": loop.as_json()},
    }
