"""CTC beam search against pyctcdecode: made-up scores, the same width, pruning, language model and weights.

    python -m benchmarks.run ctc_beam

Utterances spell sentences of made-up words; in a frame the right unit competes with another one, which it does not
always beat. Two shapes: 32 units of letters at 50 frames a second, as wav2vec2 has them, and 1,000 pieces at 25. The
language model never saw the sentences, and lacks some of their words. The penalties for unknown words differ by design:
each decoder has its default. Ours was chosen on data of the seeds from 0 on; SEED is not among them.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import interleaved
from benchmarks.inference_figures import equal_texts
from harken.core import Tokenizer
from harken.evaluation import score
from harken.inference.ctc.beam import BeamDecoder, Pruning
from harken.inference.ctc.config import CtcDecodingConfig, make_beam_decoder
from harken.inference.scoring import LogProbs
from harken.text.ngram import NgramConfig, build_ngrams
from harken.text.ngram_arpa import write_arpa
from harken.text.tokenize import BpeTokenizer, CharTokenizer, TokenizerConfig

NAME = "ctc_beam"
WIDTH = 5
TITLE = f"CTC beam search of width {WIDTH} beside pyctcdecode"
THREADS = 1
SEED = 20_000
UTTERANCES = 20
WORDS_EACH = 24
VOCABULARY = 2_000
SENTENCES = 3_000
LM_WEIGHT, WORD_BONUS = 0.5, 1.5
LIMIT_CPU_S = 0.05
MOST_DIFFERING = 0.01
ROUNDS = 5
TARGET = (
    f"at most {LIMIT_CPU_S:g} s of CPU a second of audio, and without a language model at most "
    f"{100 * MOST_DIFFERING:g} % of the words different from pyctcdecode's"
)
LETTERS = "abcdefghijklmnopqrstuvwxyzáéíóú"[:30]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A vocabulary with its frame rate, its scores, and what was said."""

    name: str
    tokenizer: Tokenizer
    labels: list[str]  # as pyctcdecode wants them
    frame_s: float
    scores: list[LogProbs]
    texts: list[str]

    @property
    def audio_s(self) -> float:
        return sum(map(len, self.scores)) * self.frame_s


def make_sentences(*, seed: int = SEED) -> list[str]:
    """Sentences of words with Zipf's frequencies, the next word drawn among a few that follow the last."""
    draw = np.random.default_rng(seed)
    words = ["".join(draw.choice(list(LETTERS), draw.integers(2, 9))) for _ in range(VOCABULARY)]
    weights = 1 / np.arange(1, VOCABULARY + 1)
    followers = draw.choice(VOCABULARY, size=(VOCABULARY, 20), p=weights / weights.sum())
    sentences = []
    for _ in range(SENTENCES):
        ids = [int(draw.integers(VOCABULARY))]
        while len(ids) < WORDS_EACH:
            ids.append(int(followers[ids[-1], draw.integers(20)]))
        sentences.append(" ".join(words[id_] for id_ in ids))
    return sentences


def make_scores(tokenizer: Tokenizer, text: str, *, seed: int) -> LogProbs:
    """(T, V): each unit on a frame or two, blanks after it, and everywhere another unit that is nearly as probable."""
    draw = np.random.default_rng(seed)
    path: list[int] = []
    for id_ in tokenizer.encode(text):
        path += [id_] * int(draw.integers(1, 3)) + [0] * int(draw.integers(1, 5))
    scores = draw.normal(0, 1, (len(path), tokenizer.vocab_size))
    frames = np.arange(len(path))
    spoken = np.array(path) > 0
    scores[frames, path] += np.where(spoken, 11, 13)
    scores[frames[spoken], draw.integers(1, tokenizer.vocab_size, spoken.sum())] += draw.normal(9, 2, spoken.sum())
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def make_shapes(*, utterances: int = UTTERANCES) -> tuple[list[Shape], list[str]]:
    """Both shapes, and the sentences their language model is built from, which are others."""
    sentences = make_sentences()
    said, sentences = sentences[:utterances], sentences[utterances:]
    letters = CharTokenizer(["<pad>", " ", *LETTERS])
    pieces = BpeTokenizer.train(TokenizerConfig(kind="bpe", size=999), sentences)
    shapes = [
        Shape(
            name=name,
            tokenizer=tokenizer,
            labels=["", *labels],
            frame_s=frame_s,
            scores=[make_scores(tokenizer, text, seed=seed) for seed, text in enumerate(said, SEED)],
            texts=said,
        )
        for name, tokenizer, labels, frame_s in (
            (f"{letters.vocab_size} letters", letters, letters.units[1:], 0.02),
            (f"{pieces.vocab_size} pieces", pieces, pieces.units[1:], 0.04),
        )
    ]
    return shapes, sentences


def decoders(shape: Shape, arpa: Path, words: list[str]) -> tuple[dict[str, Callable[[], list[str]]], BeamDecoder]:
    """Ours and pyctcdecode's, alone and with the language model, as functions that give all texts; and our default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
        from pyctcdecode import build_ctcdecoder

        theirs = build_ctcdecoder(shape.labels)
        theirs_lm = build_ctcdecoder(shape.labels, str(arpa), words, alpha=LM_WEIGHT, beta=WORD_BONUS)
    same = Pruning(least_log_prob=-5.0, most_ids=None, margin=10.0)
    plain = make_beam_decoder(CtcDecodingConfig(beam_size=WIDTH, pruning=same), shape.tokenizer)
    settings = CtcDecodingConfig(
        lm=str(arpa),
        lm_weight=LM_WEIGHT,
        word_bonus=WORD_BONUS,
        beam_size=WIDTH,
        pruning=same,
    )
    fused = make_beam_decoder(settings, shape.tokenizer)

    def ours(decoder: BeamDecoder) -> Callable[[], list[str]]:
        return lambda: [decoder.n_best(scores, 1)[0].text for scores in shape.scores]

    def rival(decoder: Any) -> Callable[[], list[str]]:
        return lambda: [decoder.decode(scores, beam_width=WIDTH) for scores in shape.scores]

    functions = {"ours": ours(plain), "ours, LM": ours(fused), "theirs": rival(theirs), "theirs, LM": rival(theirs_lm)}
    return functions, make_beam_decoder(CtcDecodingConfig(beam_size=WIDTH, lm=str(arpa)), shape.tokenizer)


def compare(
    shape: Shape, arpa: Path, words: list[str], *, rounds: int = ROUNDS
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Figures, rivals, and whether the target was met for one shape."""
    functions, default = decoders(shape, arpa, words)
    texts = {name: function() for name, function in functions.items()}
    texts["default"] = [default.n_best(scores, 1)[0].text for scores in shape.scores]
    contenders: dict[str, Callable[[], object]] = dict(functions)
    contenders["default"] = lambda: [default(scores) for scores in shape.scores]
    timings = interleaved(contenders, rounds)
    seconds = {name: timing.median_cpu_s / shape.audio_s for name, timing in timings.items()}
    figures: dict[str, Any] = {}
    for name, what in (("ours", "no LM"), ("ours, LM", "LM"), ("default", "LM, default pruning, with word times")):
        figures[f"{shape.name}, {what}"] = {"value": round(seconds[name], 5), "unit": "s CPU a second of audio"}
    for kind in ("", ", LM"):
        ratio = seconds[f"theirs{kind}"] / seconds[f"ours{kind}"]
        figures[f"{shape.name}{kind}, time of pyctcdecode over ours"] = {"value": round(ratio, 1), "unit": "ratio"}
    differing = _error_rate(texts["theirs"], texts["ours"])
    figures[f"{shape.name}, words that differ from pyctcdecode's"] = _percent(differing)
    for kind in ("", ", LM"):
        pair = texts[f"ours{kind}"], texts[f"theirs{kind}"]
        figures[f"{shape.name}{kind}, texts equal to pyctcdecode's"] = equal_texts(*pair, needed=False)
    for name, what in (
        ("ours", "no LM"),
        ("theirs", "no LM, pyctcdecode"),
        ("ours, LM", "LM"),
        ("default", "LM, default pruning"),
        ("theirs, LM", "LM, pyctcdecode"),
    ):
        figures[f"{shape.name}, {what}, WER"] = _percent(_error_rate(shape.texts, texts[name]))
    rivals = {f"{shape.name}, pyctcdecode{kind}": timings[f"theirs{kind}"].as_json() for kind in ("", ", LM")}
    slowest = max(seconds[name] for name in ("ours", "ours, LM", "default"))
    return figures, rivals, slowest <= LIMIT_CPU_S and differing <= MOST_DIFFERING


def _error_rate(references: list[str], texts: list[str]) -> float:
    rate = score(references, texts, normalizer="none").wer
    return 0.0 if rate is None else rate


def _percent(rate: float) -> dict[str, Any]:
    return {"value": round(100 * rate, 2), "unit": "%"}


def write_lm(path: Path, sentences: list[str]) -> list[str]:
    """A language model of order 3; returns its words."""
    write_arpa(path, build_ngrams(sentences, NgramConfig(order=3)).tables)
    return sorted({word for sentence in sentences for word in sentence.split()})


def run() -> dict[str, Any]:
    """Rounds in which every decoder decodes all utterances once."""
    shapes, sentences = make_shapes()
    figures: dict[str, Any] = {}
    rivals: dict[str, Any] = {}
    met = True
    with tempfile.TemporaryDirectory() as folder:
        arpa = Path(folder) / "lm.arpa"
        words = write_lm(arpa, sentences)
        said = [word for text in shapes[0].texts for word in text.split()]
        figures["words the language model lacks"] = _percent(len([w for w in said if w not in set(words)]) / len(said))
        for shape in shapes:
            found, others, reached = compare(shape, arpa, words)
            figures |= found
            rivals |= others
            met = met and reached
    return {"name": NAME, "title": TITLE, "target": TARGET, "met": met, "figures": figures, "rivals": rivals}
