"""When words begin and end: distances of the edges of recognised words from the joins of composed digits.

Edges at the ends of a sentence do not count: there the audio ends as well.
"""

from collections.abc import Sequence
from itertools import pairwise

from benchmarks.stream_track import RATE_HZ, Track
from harken.core import Tokenizer, Waveform
from harken.evaluation import align_words
from harken.inference.ctc.word_times import time_words
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.greedy import Token
from harken.inference.scoring import LogProbs, decode_greedily, pad_features

FRAMES, MIDDLES, OURS = "frames alone", "middle of the blanks", "as Harken has them"
Spans = list[tuple[float, float]]


def log_probs(recognizer: CtcRecognizer, waveform: Waveform) -> LogProbs:
    """(T, V) of one utterance."""
    scores_BTV, lengths_B = recognizer.scorer(*pad_features([recognizer.extractor(waveform)]))
    found: LogProbs = scores_BTV[0, : lengths_B[0]]
    return found


def edge_errors_s(recognizer: CtcRecognizer, track: Track) -> dict[str, list[float]]:
    """Distance of each edge inside a sentence from the clip's, for words that were recognised, by kind of times."""
    found: dict[str, list[float]] = {FRAMES: [], MIDDLES: [], OURS: []}
    for sentence in track.sentences:
        begin_s, end_s = sentence.words[0][1], sentence.words[-1][2]
        waveform = track.waveform[round(begin_s * RATE_HZ) : round(end_s * RATE_HZ)]
        true = [(start_s - begin_s, stop_s - begin_s) for _, start_s, stop_s in sentence.words]
        tokens = decode_greedily(log_probs(recognizer, waveform))
        texts, spans = word_spans(tokens, recognizer.tokenizer, recognizer.frame_s, end_s - begin_s)
        pairs = matched([word for word, _, _ in sentence.words], texts)
        for kind, times in spans.items():
            found[kind] += edge_distances(true, times, pairs)
    return found


def word_spans(
    tokens: list[Token], tokenizer: Tokenizer, frame_s: float, duration_s: float
) -> tuple[list[str], dict[str, Spans]]:
    """Words, and their [start, end) by each kind of times."""
    pieces = tokenizer.word_pieces([token.id for token in tokens])
    frames = [(tokens[first].first * frame_s, tokens[end - 1].end * frame_s) for _, first, end in pieces]
    edges = [0.0, *((left[1] + right[0]) / 2 for left, right in pairwise(frames)), duration_s]
    words = time_words(tokens, tokenizer, frame_s=frame_s, duration_s=duration_s)
    return [word for word, _, _ in pieces], {
        FRAMES: frames,
        MIDDLES: list(pairwise(edges))[: len(frames)],
        OURS: [(word.start_s, word.end_s) for word in words],
    }


def matched(said: Sequence[str], heard: Sequence[str]) -> list[tuple[int, int]]:
    """Places of the words that were recognised, in both."""
    pairs, reference, hypothesis = [], 0, 0
    for step in align_words(said, heard):
        if step.kind == "C":
            pairs.append((reference, hypothesis))
        reference += step.kind != "I"
        hypothesis += step.kind != "D"
    return pairs


def edge_distances(true: Spans, times: Spans, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Of starts but a sentence's first, and ends but its last."""
    starts = [abs(times[h][0] - true[r][0]) for r, h in pairs if r > 0]
    return starts + [abs(times[h][1] - true[r][1]) for r, h in pairs if r < len(true) - 1]
