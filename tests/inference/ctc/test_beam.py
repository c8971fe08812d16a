"""Beam search against sums over every alignment, alone and with a language model and hotwords."""

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, Tokenizer
from harken.inference.ctc import beam
from harken.inference.ctc.beam import BeamDecoder, Hypothesis, Pruning, candidates
from harken.inference.ctc.fusion import Fusion
from harken.inference.ctc.hotwords import Hotword, HotwordMatcher
from harken.inference.ctc.units import unit_strings
from harken.inference.greedy import Token
from harken.inference.scoring import LogProbs, decode_greedily
from harken.text.tokenize import CharTokenizer, WordTokenizer

NOTHING = Pruning(least_log_prob=None, most_ids=None, margin=None)
CHARACTERS = CharTokenizer(["<pad>", " ", "a", "b"])
WORDS = WordTokenizer(["<pad>", "one", "two", "six"])


class Bigrams:
    """A language model made by hand: ln p of a word depends on the word before."""

    def __init__(self, table: dict[tuple[str, str], float]) -> None:
        self.table = table
        self.known = {word for pair in table for word in pair} - {"<s>", "</s>"}

    def start(self) -> str:
        return "<s>"

    def score(self, state: str, word: str) -> tuple[float, str]:
        return self.table.get((state, word), -6.0), word

    def end(self, state: str) -> float:
        return self.table.get((state, "</s>"), -3.0)

    def __contains__(self, word: str) -> bool:
        return word in self.known

    def words(self) -> dict[str, float]:
        return dict.fromkeys(self.known, -1.0)


def random_scores(frames: int, units: int, *, seed: int) -> LogProbs:
    scores = np.random.default_rng(seed).standard_normal((frames, units)) * 1.5
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def sums_over_alignments(log_probs_TV: LogProbs) -> dict[tuple[int, ...], float]:
    """p of every text, by adding up every path."""
    frames, units = log_probs_TV.shape
    found: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(units), repeat=frames):
        ids = tuple(id_ for id_, _ in itertools.groupby(path) if id_)
        found[ids] += math.exp(sum(float(log_probs_TV[t, id_]) for t, id_ in enumerate(path)))
    return found


def fusion_of(
    tokenizer: Tokenizer, *, lm: Bigrams | None = None, hotwords: list[Hotword] | None = None, boost: float = 1.0
) -> Fusion:
    matcher = None if hotwords is None else HotwordMatcher(hotwords, tokenizer, boost=boost)
    strings = unit_strings(tokenizer)
    return Fusion(strings, lm=lm, lm_weight=0.7, word_bonus=0.9, unknown_letter=-2.0, hotwords=matcher)


def said(path: list[int], units: int, sure: float = 0.9) -> LogProbs:
    """Scores that say `path`, the rest spread evenly."""
    probabilities = np.full((len(path), units), (1 - sure) / (units - 1))
    probabilities[np.arange(len(path)), path] = sure
    return np.log(probabilities).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_the_sums_over_all_alignments(seed: int) -> None:
    log_probs = random_scores(6, 4, seed=seed)
    expected = sums_over_alignments(log_probs)
    found = BeamDecoder(WORDS, width=10**6, pruning=NOTHING).n_best(log_probs, 10**6)
    assert {hypothesis.ids for hypothesis in found} == set(expected)
    for hypothesis in found:
        assert hypothesis.score == hypothesis.log_prob == pytest.approx(math.log(expected[hypothesis.ids]), abs=1e-4)
    assert found[0].ids == max(expected, key=lambda ids: expected[ids])
    assert [hypothesis.score for hypothesis in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("tokenizer", [WORDS, CHARACTERS], ids=["words", "characters"])
@pytest.mark.parametrize("seed", range(4))
def test_with_a_language_model_and_hotwords(tokenizer: Tokenizer, seed: int) -> None:
    """ln p of the sound + 0.7 ln p of the words and the end + 0.9 a word - 2 a letter of unknown ones + 1 for each unit
    of a hotword.
    """
    known = ["one", "two"] if tokenizer is WORDS else ["a", "ab"]
    lm = Bigrams({("<s>", known[0]): -0.4, (known[0], known[1]): -0.7, (known[1], "</s>"): -0.2})
    fusion = fusion_of(tokenizer, lm=lm, hotwords=[Hotword(text=f"{known[0]} {known[1]}"), Hotword(text=known[1])])
    log_probs = random_scores(6, 4, seed=seed)
    expected: dict[tuple[int, ...], float] = {}
    for ids, probability in sums_over_alignments(log_probs).items():
        words = tokenizer.decode(ids).split()
        score, state = math.log(probability), lm.start()
        for word in words:
            gained, state = lm.score(state, word)
            score += 0.7 * gained + 0.9 - 2.0 * len(word) * (word not in lm)
        score += 0.7 * lm.end(state)
        first, second = (len(tokenizer.encode(word)) for word in known)
        score += second * words.count(known[1])
        score += (first + second) * list(itertools.pairwise(words)).count((known[0], known[1]))
        expected[ids] = score
    found = BeamDecoder(tokenizer, width=10**6, pruning=NOTHING, fusion=fusion).n_best(log_probs, 10**6)
    assert found[0].score == pytest.approx(max(expected.values()), abs=1e-4)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.ids], abs=1e-4)
    assert len({hypothesis.text for hypothesis in found}) == len(found)


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_and_sure_scores_is_greedy(seed: int) -> None:
    path = np.random.default_rng(seed).integers(0, 4, 60).tolist()
    log_probs = said(path, 4)
    for width in (1, 5):
        found = BeamDecoder(WORDS, width=width)(log_probs)
        greedy = decode_greedily(log_probs)
        assert [(t.id, t.first, t.end) for t in found] == [(t.id, t.first, t.end) for t in greedy]
        np.testing.assert_allclose([t.probability for t in found], [t.probability for t in greedy], atol=1e-6)


def test_alignments_of_one_text_add_up() -> None:
    """Each frame alone prefers the blank; the ways to say "one" are together more probable than silence."""
    log_probs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]], np.float32))
    tokenizer = WordTokenizer(["<pad>", "one"])
    assert decode_greedily(log_probs) == []
    (best, silence) = BeamDecoder(tokenizer, width=5).n_best(log_probs, 5)[:2]
    assert (best.text, math.exp(best.log_prob)) == ("one", pytest.approx(1 - 0.36))
    assert (silence.text, math.exp(silence.log_prob)) == ("", pytest.approx(0.36))
    (token,) = BeamDecoder(tokenizer, width=5)(log_probs)
    assert token == Token(id=1, first=0, end=1, probability=pytest.approx(0.4))


def test_a_run_of_blanks_parts_equal_ids_even_if_it_costs_nothing() -> None:
    log_probs = np.full((5, 3), -30.0, np.float32)
    log_probs[[0, 1, 2, 3, 4], [1, 0, 0, 1, 0]] = 0.0
    assert [token.id for token in BeamDecoder(WordTokenizer(["<pad>", "x", "y"]), width=5)(log_probs)] == [1, 1]


def test_blank_frames_come_as_one() -> None:
    log_probs = np.log(np.array([[0.999, 1e-4], [0.998, 1e-4], [0.1, 0.9], [0.99, 1e-4]], np.float32))
    steps = list(candidates(log_probs, Pruning()))
    assert [[id_ for id_, _ in tokens] for _, tokens in steps] == [[], [1], []]
    assert [blank for blank, _ in steps] == pytest.approx(
        [math.log(0.999 * 0.998), math.log(0.1), math.log(0.99)], abs=1e-6
    )


def test_pruning_of_ids() -> None:
    log_probs = np.log(np.array([[0.02, 0.5, 0.3, 0.08, 0.1]], np.float32))
    chosen = {
        limit: [id_ for id_, _ in next(candidates(log_probs, limit))[1]]
        for limit in (
            NOTHING,
            Pruning(most_ids=2),
            Pruning(least_log_prob=math.log(0.09)),
            Pruning(least_log_prob=-0.1),  # none is that sure: the best is tried all the same
        )
    }
    assert list(chosen.values()) == [[1, 2, 3, 4], [1, 2], [1, 2, 4], [1]]


def test_pieces_of_a_long_utterance_give_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = random_scores(50, 5, seed=1)
    log_probs[10:25] = said([0] * 15, 5, sure=0.9999)
    whole = list(candidates(log_probs, Pruning()))
    monkeypatch.setattr("harken.inference.ctc.beam._FRAMES_AT_ONCE", 7)
    assert list(candidates(log_probs, Pruning())) == [(pytest.approx(blank), tokens) for blank, tokens in whole]


def test_a_narrow_beam_forgets_what_it_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree of texts would otherwise grow with every frame; it holds the texts in the beam and their beginnings."""
    made: list[beam._Prefix] = []
    before = beam._Prefix.__init__

    def record(self: beam._Prefix, *arguments: Any) -> None:
        before(self, *arguments)
        made.append(self)

    monkeypatch.setattr(beam._Prefix, "__init__", record)
    best = BeamDecoder(CHARACTERS, width=3)(random_scores(400, 4, seed=3))
    waiting, reachable = made[:1], 0
    while waiting:
        node = waiting.pop()
        reachable += 1
        waiting += node.children.values()
    assert len(best) < reachable < 1.5 * len(best)
    assert len(made) > 2 * reachable


def test_equal_scores_give_the_same_order_every_time() -> None:
    log_probs = np.full((3, 4), np.log(0.25), np.float32)
    found = BeamDecoder(WORDS, width=100, pruning=NOTHING).n_best(log_probs, 100)
    assert [h.ids for h in found] == [h.ids for h in sorted(found, key=lambda h: (-round(h.score, 9), h.ids))]


@pytest.mark.parametrize("frames", [0, 1])
def test_next_to_nothing(frames: int) -> None:
    decoder = BeamDecoder(WORDS, width=5)
    log_probs = said([0] * frames, 4, sure=0.999999)
    assert decoder(log_probs) == []
    nothing = pytest.approx(0, abs=1e-4)
    assert decoder.n_best(log_probs, 3)[0] == Hypothesis(text="", ids=(), score=nothing, log_prob=nothing)


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="width is 0"):
        BeamDecoder(WORDS, width=0)
    with pytest.raises(ValueError, match="n is 0"):
        BeamDecoder(WORDS, width=2).n_best(random_scores(3, 4, seed=0), 0)
    with pytest.raises(InputError, match="not numbers"):
        BeamDecoder(WORDS, width=2)(np.full((3, 4), np.nan, np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"least_log_prob": 0.0}, "nats below 0"), ({"most_ids": 0}, "1 or more"), ({"margin": -1.0}, "above 0")],
)
def test_wrong_pruning(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pruning(**settings)  # type: ignore[arg-type]


def forward(log_probs_TV: LogProbs, ids: list[int]) -> float:
    """ln p of a text over all its alignments (Graves et al. 2006, section 4.1)."""
    states = [0, *(unit for id_ in ids for unit in (id_, 0))]
    alpha = np.full(len(states), -np.inf)
    alpha[:2] = log_probs_TV[0, states[:2]]
    for scores in log_probs_TV[1:]:
        new = alpha.copy()
        new[1:] = np.logaddexp(new[1:], alpha[:-1])
        for place in range(3, len(states), 2):
            if states[place] != states[place - 2]:
                new[place] = np.logaddexp(new[place], alpha[place - 2])
        alpha = new + scores[states]
    return float(np.logaddexp(alpha[-1], alpha[-2]))


@pytest.mark.rival
@pytest.mark.parametrize("sharpness", [3.0, 8.0])
def test_against_pyctcdecode(sharpness: float) -> None:
    """Within a word, with the same width and pruning: the same texts for clear scores, no worse ones for others."""
    pyctcdecode = pytest.importorskip("pyctcdecode", reason="compares with pyctcdecode: pip install pyctcdecode")
    rival = pyctcdecode.build_ctcdecoder(["", " ", "a", "b"])
    decoder = BeamDecoder(CHARACTERS, width=5, pruning=Pruning(least_log_prob=-5.0, most_ids=None, margin=10.0))
    ours, theirs = [], []
    for seed in range(30):
        draw = np.random.default_rng(seed)
        scores = draw.normal(0, 1, (60, 4))
        scores[np.arange(60), draw.choice([0, 2, 3], 60)] += sharpness
        scores[:, 1] = -20  # several spaces are one to pyctcdecode
        log_probs = (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)
        for texts, text in (
            (ours, decoder.n_best(log_probs, 1)[0].text),
            (theirs, rival.decode(log_probs, beam_width=5)),
        ):
            texts.append((text, forward(log_probs, CHARACTERS.encode(text))))
    if sharpness > 5:
        assert ours == theirs
    else:
        assert sum(log_prob for _, log_prob in ours) > sum(log_prob for _, log_prob in theirs)
