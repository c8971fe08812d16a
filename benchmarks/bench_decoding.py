"""Decoding of CTC models: what a language model and hotwords do to the WER, to names, and when words begin and end.

    python -m benchmarks.run decoding

Needs the Free Spoken Digit Dataset as `digit_sets` says, and espeak-ng. Settings are `CtcDecodingConfig`'s defaults,
and nothing is chosen here. That of `unknown_letter` was chosen earlier, on made-up scores and with held-out digits at
hand, and the length of a letter in word times on composed digits.

Digits: a character model (recipes/digits-characters.yaml) on two halves of the held-out recordings, which share none;
the language model is of order 3, from the training texts, and the hotwords are the ten digits. Names: a character model
that learnt Uzbek spelling from nonsense words, and sentences of voices it never heard with names it never saw.
Word times: sentences of held-out digits whose joins are known; edges at the ends of a sentence do not count.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decoding_names import NAMED, NAMES, make_names
from benchmarks.decoding_times import FRAMES, MIDDLES, OURS, edge_errors_s, log_probs
from benchmarks.digit_sets import corpus, digit_sets, train_recipe
from benchmarks.harness import ROOT
from benchmarks.stream_track import make_track
from harken.audio.decode import decode_audio
from harken.cli.demo import DEMO_RECIPE
from harken.core import Utterance
from harken.core.files import write_text
from harken.data.compose import ComposeConfig, compose_utterances
from harken.data.importers import import_corpus
from harken.data.manifest import read_manifest
from harken.data.synthetic import DIGIT_WORDS
from harken.evaluation import align_words
from harken.evaluation.conditions import CLEAN, CONDITIONS, apply_condition
from harken.inference.config import EngineConfig
from harken.inference.ctc.config import CtcDecodingConfig, make_ctc_decoder
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.engines import load
from harken.text.ngram import NgramConfig, build_ngrams
from harken.text.ngram_arpa import write_arpa

NAME = "decoding"
TITLE = "Decoding with a language model and hotwords, and word times"
MOST_OFF_S = 0.08
TARGET = (
    "digits, both halves: a language model and a list of hotwords each lower the WER in noise and do not raise it "
    "without; names: each fixes more words than it breaks, and breaks no more than it fixes where no name is said; "
    f"edges of words at most {1000 * MOST_OFF_S:g} ms from their joins (median)"
)
CHARACTERS = ROOT / "recipes" / "digits-characters.yaml"
DIGITS = DIGIT_WORDS["en"]
ORDER = 3
NAMES_UPDATES = 1_200
HELD_OUT_PASSES = 4  # each recording in so many utterances: company, gaps and noise differ
TRACK_MINUTES = 4.0  # of each half: every recording about twice
GREEDY, BEAM, LM, HOTWORDS = "greedy", "beam", "beam, LM", "beam, hotwords"
POOR_LM, POOR_LM_HOTWORDS = "beam, LM without the names", "beam, that LM and hotwords"
DECODERS = (GREEDY, BEAM, LM, HOTWORDS, POOR_LM, POOR_LM_HOTWORDS)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One decoder on one set: errors of its texts, and words that greedy decoding had wrong or right before it."""

    words: int
    errors: int
    fixed: int
    broken: int

    @property
    def wer(self) -> float:
        return 100 * self.errors / self.words

    def cell(self, *, beside_greedy: bool) -> str:
        return f"{self.wer:.1f}" + (f" (+{self.fixed} \u2212{self.broken})" if beside_greedy else "")


@dataclass(frozen=True, kw_only=True)
class Case:
    """All decoders on one set under one condition."""

    group: str
    set: str
    condition: str
    outcomes: dict[str, Outcome]

    def row(self) -> list[Any]:
        cells = [
            found.cell(beside_greedy=name != GREEDY) if (found := self.outcomes.get(name)) else "" for name in DECODERS
        ]
        return [self.set, self.condition, self.outcomes[GREEDY].words, *cells]


def open_model(folder: Path) -> CtcRecognizer:
    recognizer = load(folder, engine="torch", config=EngineConfig(device="cpu", threads=1))
    assert isinstance(recognizer, CtcRecognizer)
    return recognizer


def halves(clips: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """The held-out recordings in two halves of equal speakers and digits, by the take."""
    parts: dict[str, list[Utterance]] = {"A": [], "B": []}
    for clip in clips:
        if clip.tags["split"] == "test":
            take = int(clip.tags["index"]) + DIGITS.index(clip.text or "")
            parts["AB"[take % 2]].append(replace(clip, tags={"split": "test"}))
    return parts


def write_lm(path: Path, texts: Sequence[str]) -> str:
    write_arpa(path, build_ngrams(texts, NgramConfig(order=ORDER)).tables)
    return str(path)


def write_hotwords(path: Path, phrases: Sequence[str]) -> str:
    write_text(path, "".join(f"{phrase}\n" for phrase in phrases))
    return str(path)


def measure_cases(
    recognizer: CtcRecognizer,
    group: str,
    sets: Mapping[str, Sequence[Utterance]],
    conditions: Sequence[str],
    configs: Mapping[str, CtcDecodingConfig],
) -> Iterator[Case]:
    """Every set under every condition; all decoders read the same scores."""
    tokenizer, rate = recognizer.tokenizer, recognizer.sample_rate_hz
    decoders = {name: make_ctc_decoder(config, tokenizer) for name, config in configs.items()}
    for set_, utterances in sets.items():
        references = [utterance.text or "" for utterance in utterances]
        audio = [decode_audio(utterance.audio, sample_rate_hz=rate) for utterance in utterances]
        for name in conditions:
            noisy = (
                apply_condition(waveform, CONDITIONS[name], sample_rate_hz=rate, utterance_id=utterance.id)
                for waveform, utterance in zip(audio, utterances, strict=True)
            )
            scores = [log_probs(recognizer, waveform) for waveform in noisy]
            texts = {
                kind: [tokenizer.decode([token.id for token in decoder(item)]) for item in scores]
                for kind, decoder in decoders.items()
            }
            outcomes = {kind: compare(references, texts[GREEDY], found) for kind, found in texts.items()}
            yield Case(group=group, set=set_, condition=name, outcomes=outcomes)


def compare(references: Sequence[str], greedy: Sequence[str], texts: Sequence[str]) -> Outcome:
    """Errors of `texts`; words of the references they have right that `greedy` has not, and the reverse."""
    before = [right for pair in zip(references, greedy, strict=True) for right in heard_right(*pair)]
    after = [right for pair in zip(references, texts, strict=True) for right in heard_right(*pair)]
    errors = sum(step.kind != "C" for pair in zip(references, texts, strict=True) for step in align_words(*pair))
    return Outcome(
        words=len(before),
        errors=errors,
        fixed=sum(now and not then for then, now in zip(before, after, strict=True)),
        broken=sum(then and not now for then, now in zip(before, after, strict=True)),
    )


def heard_right(reference: str, text: str) -> list[bool]:
    """For each word of the reference."""
    return [step.kind == "C" for step in align_words(reference, text) if step.kind != "I"]


def measure_digits(root: Path, sets: Mapping[str, Path], model: CtcRecognizer) -> list[Case]:
    parts = halves(import_corpus("fsdd", corpus()).utterances)
    config = ComposeConfig(passes=HELD_OUT_PASSES, gap_fill="noise")
    composed = {f"digits, half {name}": compose_utterances(clips, root / name, config) for name, clips in parts.items()}
    lm = write_lm(root / "digits.arpa", [utterance.text or "" for utterance in read_manifest(sets["train"])])
    hotwords = write_hotwords(root / "digits.txt", DIGITS)
    configs = _configs(lm, hotwords)
    return list(measure_cases(model, "digits", composed, (CLEAN, "noise-10db", "noise-5db"), configs))


def measure_names(root: Path) -> list[Case]:
    task = make_names(root / "names")
    updates = [f"training.updates={NAMES_UPDATES}", f"training.evaluate_every={NAMES_UPDATES // 4}"]
    model = open_model(train_recipe(CHARACTERS, task.sets, root / "names-run", updates).model_folder)
    hotwords = write_hotwords(root / "names.txt", NAMES)
    poor = write_lm(root / "poor.arpa", task.texts_without_names)
    configs = _configs(write_lm(root / "names.arpa", task.texts), hotwords) | {
        POOR_LM: CtcDecodingConfig(lm=poor),
        POOR_LM_HOTWORDS: CtcDecodingConfig(lm=poor, hotwords=hotwords),
    }
    return list(measure_cases(model, "names", task.tests, (CLEAN, "noise-10db"), configs))


def measure_times(models: Mapping[str, CtcRecognizer]) -> dict[str, Any]:
    """Figures of the edges of words on both halves; a spread is that of the halves."""
    tracks = [make_track(clips, TRACK_MINUTES) for clips in halves(import_corpus("fsdd", corpus()).utterances).values()]
    figures: dict[str, Any] = {}
    for name, model in models.items():
        found = [edge_errors_s(model, track) for track in tracks]
        for kind in (OURS, FRAMES, MIDDLES):
            by_half = [half[kind] for half in found]
            for label, percent in (("median", 50), ("90 % within", 90)):
                figures[f"word edges, units are {name}, {kind}, {label}"] = _milliseconds(by_half, percent)
    return figures


def _milliseconds(halves_s: Sequence[Sequence[float]], percent: int) -> dict[str, Any]:
    both = [value for half in halves_s for value in half]
    each = [round(1000 * float(np.percentile(half, percent)), 1) for half in halves_s]
    middle = round(1000 * float(np.percentile(both, percent)), 1)
    return {"value": middle, "unit": "ms from the join", "spread": [min(each), max(each)], "edges": len(both)}


def _configs(lm: str, hotwords: str) -> dict[str, CtcDecodingConfig]:
    return {
        GREEDY: CtcDecodingConfig(),
        BEAM: CtcDecodingConfig(beam_size=5),
        LM: CtcDecodingConfig(lm=lm),
        HOTWORDS: CtcDecodingConfig(hotwords=hotwords),
    }


def missed(cases: Sequence[Case], times: Mapping[str, Any]) -> list[str]:
    """What is beyond the target, in words."""
    found = []
    for case in cases:
        greedy = case.outcomes[GREEDY]
        for kind in (LM, HOTWORDS):
            outcome, place = case.outcomes[kind], f"{case.set}, {case.condition}, {kind}"
            gained, least = outcome.fixed - outcome.broken, 1 if case.set == NAMED else 0
            more = outcome.errors - greedy.errors
            if case.group == "digits" and (more > 0 or (more == 0 and case.condition != CLEAN)):
                found.append(f"{place}: WER {outcome.wer:.1f} % where greedy has {greedy.wer:.1f} %")
            if case.group == "names" and gained < least:
                found.append(f"{place}: {outcome.fixed} words fixed and {outcome.broken} broken")
    for name, figure in times.items():
        if OURS in name and name.endswith("median") and figure["value"] > 1000 * MOST_OFF_S:
            found.append(f"{name}: {figure['value']:g} ms")
    return found


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="harken-decoding-") as folder:
        root = Path(folder)
        sets = digit_sets(root)
        characters = open_model(train_recipe(CHARACTERS, sets, root / "characters").model_folder)
        words = open_model(train_recipe(DEMO_RECIPE, sets, root / "words").model_folder)
        cases = [*measure_digits(root, sets, characters), *measure_names(root)]
        times = measure_times({"words": words, "characters": characters})
    return conclude(cases, times)


def conclude(cases: Sequence[Case], times: Mapping[str, Any]) -> dict[str, Any]:
    """The result in the form that `benchmarks.run` keeps."""
    beyond = missed(cases, times)
    return {
        "name": NAME,
        "title": TITLE,
        "target": TARGET,
        "met": not beyond,
        "note": "WER in percent; in brackets the words that greedy decoding had wrong and this one has right, and the "
        f"reverse. {'Missed: ' + '; '.join(beyond) + '.' if beyond else 'Every part of the target was reached.'}",
        "figures": times,
        "rivals": {},
        "table": {"columns": ["Set", "Condition", "Words", *DECODERS], "rows": [case.row() for case in cases]},
        "cases": [asdict(case) for case in cases],
    }
