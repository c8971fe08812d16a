"""Two systems, from texts to the interval and the test of their difference by speaker: 100,000 utterances of 15 words.

No rival draws speakers. kaldialign draws utterances and gives the two intervals and how often one system was better;
jiwer and texterrors give errors and alignments without an interval, as does sclite, which is in the table where it is
on the PATH and scores a tenth of the set; the loop that people write around rapidfuzz gives the number of errors only.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import kaldialign
import numpy as np
from rapidfuzz.distance import Levenshtein
from texterrors import align_texts as texterrors_align

from benchmarks.harness import interleaved, peak_memory
from harken.evaluation.scoring.metrics import Counts, score_systems
from harken.evaluation.statistics.paired_tests import PairedDifference, paired_bootstrap, sign_flip_test

NAME = "scoring"
THREADS = 1
UTTERANCES = 100_000
MEAN_WORDS = 15
VOCABULARY = 20_000
SPEAKERS = 500
ERROR_RATES = (0.12, 0.11)
SAMPLES = 1000
SWAPS = 10_000
LIMIT_CPU_S = 3.0
LIMIT_BYTES = 1e9
ROUNDS = 3
SCLITE_SHARE = 10


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


def count_errors(references: list[str], systems: list[list[str]]) -> list[Counts]:
    """Errors and words of each utterance, of one system after the other."""
    named = {str(number): texts for number, texts in enumerate(systems)}
    scores = score_systems(references, named, normalizer="none").values()
    return [array for score in scores for array in (score.counts.errors, score.counts.words)]


def judge_difference(counts: list[Counts]) -> tuple[PairedDifference, PairedDifference]:
    """The bootstrap interval and the sign-flip test of the difference of two rates, by speaker."""
    speakers = [number % SPEAKERS for number in range(len(counts[0]))]
    return (
        paired_bootstrap(*counts, speakers, unit="speaker", samples=SAMPLES),
        sign_flip_test(*counts, speakers, unit="speaker", samples=SWAPS),
    )


def compare_generated() -> list[float | None]:
    """The comparison, and the texts it needs: what is measured for memory."""
    interval, test = judge_difference(count_errors(*make_texts()))
    return [interval.low, interval.high, test.p_value]


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


def by_sclite(references: list[str], systems: list[list[str]]) -> None:
    """sclite's summaries of a part of the utterances."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, texts in enumerate([references, *systems]):
            lines = [f"{text} (s-{place:06d})\n" for place, text in enumerate(texts[::SCLITE_SHARE])]
            (folder / f"{number}.trn").write_text("".join(lines), encoding="utf-8")
        for number in range(1, len(systems) + 1):
            call = ["sclite", "-r", "0.trn", "trn", "-h", f"{number}.trn", "trn", "-i", "rm", "-o", "sum"]
            subprocess.run(call, cwd=folder, check=True, capture_output=True)


def run() -> dict[str, Any]:
    """Rounds in which all score the same texts once."""
    texts = make_texts()
    counts = count_errors(*texts)
    ours: dict[str, Callable[[], object]] = {
        "texts to interval and test": lambda: judge_difference(count_errors(*texts)),
        "the interval and the test alone": lambda: judge_difference(counts),
    }
    rivals: dict[str, Callable[[], object]] = {
        "kaldialign, intervals by utterance": lambda: by_kaldialign(*texts),
        "jiwer, no interval": lambda: by_jiwer(*texts),
        "texterrors, no interval": lambda: by_texterrors(*texts),
        "rapidfuzz, distance only": lambda: by_rapidfuzz(*texts),
    }
    if shutil.which("sclite"):
        rivals[f"sclite, no interval, a {SCLITE_SHARE}th of the utterances"] = lambda: by_sclite(*texts)
    timings = interleaved({**ours, **rivals}, ROUNDS, warm_up=1)
    whole = timings["texts to interval and test"]
    memory = peak_memory("benchmarks.bench_scoring:compare_generated", threads=THREADS)
    figures: dict[str, Any] = {
        name: {"value": round(timings[name].median_cpu_s, 3), "unit": "s CPU", **timings[name].as_json()}
        for name in ours
    }
    figures["memory, texts included"] = {"value": round(memory.peak_bytes / 1e6), "unit": "MB"}
    for name in rivals:
        ratio = timings[name].median_cpu_s / whole.median_cpu_s
        figures[f"time of {name.split(',')[0]} over ours"] = {"value": round(ratio, 2), "unit": "ratio"}
    return {
        "name": NAME,
        "title": f"Two systems, {UTTERANCES:,} utterances: from texts to the interval of their difference by speaker",
        "target": f"at most {LIMIT_CPU_S:g} s of CPU and {LIMIT_BYTES / 1e9:g} GB",
        "met": whole.median_cpu_s <= LIMIT_CPU_S and memory.peak_bytes <= LIMIT_BYTES,
        "figures": figures,
        "rivals": {name: timings[name].as_json() for name in rivals},
    }
