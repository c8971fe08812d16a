"""From the texts of two systems to the interval and the test of their difference, by speaker.

The rivals do less: kaldialign draws utterances, not speakers, and gives an interval for each system but none for the
difference; jiwer and texterrors give no interval at all; nor does sclite, which is in the table where it is on the PATH
and scores a tenth of the set.
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
import texterrors

from benchmarks.harness import interleaved, peak_memory
from harken.evaluation.scoring.metrics import score_systems
from harken.evaluation.statistics.paired_tests import PairedDifference, paired_bootstrap, sign_flip_test

NAME = "comparison"
THREADS = 1
UTTERANCES = 100_000
MEAN_WORDS = 15
VOCABULARY = 20_000
SPEAKERS = 500
ERROR_RATE = 0.12
SAMPLES = 1000
SWAPS = 10_000
LIMIT_CPU_S = 3.0
LIMIT_BYTES = 1 << 30
ROUNDS = 3
SCLITE_SHARE = 10

Texts = list[str]


def make_systems(count: int = UTTERANCES, *, seed: int = 0) -> tuple[Texts, Texts, Texts, list[str]]:
    """References with Zipf-distributed words, two systems with errors of their own, and the speakers."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, VOCABULARY + 1)
    lengths = np.maximum(1, draw.poisson(MEAN_WORDS, size=count)).tolist()
    words = [f"w{number}" for number in draw.choice(VOCABULARY, size=sum(lengths), p=weights / weights.sum()).tolist()]
    references = _cut(words, lengths)
    systems = [_recognise(words, lengths, draw) for _ in range(2)]
    speakers = [f"speaker {number}" for number in draw.integers(SPEAKERS, size=count).tolist()]
    return references, systems[0], systems[1], speakers


def _recognise(words: Texts, lengths: list[int], draw: np.random.Generator) -> Texts:
    """A third of the errors each are deletions, substitutions and insertions."""
    chance = draw.random(len(words)).tolist()
    other = [f"w{number}" for number in draw.integers(VOCABULARY, size=len(words)).tolist()]
    heard = []
    for word, place, wrong in zip(words, chance, other, strict=True):
        if place < ERROR_RATE / 3:
            heard.append("")
        elif place < 2 * ERROR_RATE / 3:
            heard.append(wrong)
        else:
            heard.append(f"{word} {wrong}" if place > 1 - ERROR_RATE / 3 else word)
    return [" ".join(text.split()) for text in _cut(heard, lengths)]


def _cut(words: Texts, lengths: list[int]) -> Texts:
    ends = np.cumsum(lengths).tolist()
    return [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def compare_texts(
    references: Texts, first: Texts, second: Texts, speakers: list[str]
) -> tuple[PairedDifference, PairedDifference]:
    """Alignment of both systems, then the bootstrap interval and the sign-flip test by speaker."""
    scores = score_systems(references, {"a": first, "b": second}, normalizer="none", units="words")
    counts = scores["a"].counts.errors, scores["a"].counts.words, scores["b"].counts.errors, scores["b"].counts.words
    return (
        paired_bootstrap(*counts, speakers, unit="speaker", samples=SAMPLES),
        sign_flip_test(*counts, speakers, unit="speaker", samples=SWAPS),
    )


def compare_made() -> float | None:
    """What the memory is measured of: the texts are made in the same process, and are part of it."""
    return compare_texts(*make_systems())[0].value


def run() -> dict[str, Any]:
    """Rounds in which all score the same texts once."""
    references, first, second, speakers = texts = make_systems()
    split = [[text.split() for text in side] for side in (references, first, second)]
    scores = score_systems(references, {"a": first, "b": second}, normalizer="none", units="words")
    counts = scores["a"].counts.errors, scores["a"].counts.words, scores["b"].counts.errors, scores["b"].counts.words

    def statistics_only() -> None:
        paired_bootstrap(*counts, speakers, unit="speaker", samples=SAMPLES)
        sign_flip_test(*counts, speakers, unit="speaker", samples=SWAPS)

    ours: dict[str, Callable[[], object]] = {
        "texts to interval and test": lambda: compare_texts(*texts),
        "the interval and the test alone": statistics_only,
    }
    rivals: dict[str, Callable[[], object]] = {
        "kaldialign, 1000 bootstrap samples of utterances": lambda: kaldialign.bootstrap_wer_ci(
            *split, replications=SAMPLES
        ),
        "jiwer, two systems, no interval": lambda: [jiwer.wer(references, side) for side in (first, second)],
        "texterrors, two systems, alignment only": lambda: [
            texterrors.align_texts(*pair) for side in split[1:] for pair in zip(split[0], side, strict=True)
        ],
    }
    if shutil.which("sclite"):
        rivals[f"sclite, two systems, a {SCLITE_SHARE}th of the utterances"] = lambda: _sclite(
            references, first, second
        )
    timings = interleaved({**ours, **rivals}, ROUNDS, warm_up=1)
    memory = peak_memory("benchmarks.bench_comparison:compare_made")
    whole = timings["texts to interval and test"]
    return {
        "name": NAME,
        "title": f"Two systems, {UTTERANCES:,} utterances: from texts to the interval of their difference by speaker",
        "target": f"at most {LIMIT_CPU_S:g} s of CPU and 1 GiB",
        "met": whole.median_cpu_s <= LIMIT_CPU_S and memory.peak_bytes <= LIMIT_BYTES,
        "figures": {
            **{
                name: {"value": round(timings[name].median_cpu_s, 3), "unit": "s CPU", **timings[name].as_json()}
                for name in ours
            },
            "peak memory": {"value": round(memory.peak_bytes / (1 << 20)), "unit": "MiB"},
        },
        "rivals": {name: timings[name].as_json() for name in rivals},
    }


def _sclite(references: Texts, *systems: Texts) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, texts in zip(("ref", "a", "b"), (references, *systems), strict=True):
            lines = [f"{text} (s-{number:06d})\n" for number, text in enumerate(texts[::SCLITE_SHARE])]
            (folder / f"{label}.trn").write_text("".join(lines), encoding="utf-8")
        for label in ("a", "b"):
            call = ["sclite", "-r", "ref.trn", "trn", "-h", f"{label}.trn", "trn", "-i", "rm", "-o", "sum"]
            subprocess.run(call, cwd=folder, check=True, capture_output=True)
