"""Frames in any portions give the words of all at once; endpoints fall where the rules say."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import Tokenizer
from harken.inference.scoring import LogProbs, decode_greedily
from harken.inference.streaming.config import EndpointConfig
from harken.inference.streaming.words import CtcWords, Found, WordsState
from harken.text.tokenize import CharTokenizer, WordTokenizer

WORDS = WordTokenizer(["<pad>", "one", "two", "three", "four"])
LETTERS = CharTokenizer(["<pad>", " ", "a", "b", "c"])
NEVER = EndpointConfig(pause_s=None, silence_s=None, longest_s=None)
FRAME_S = 0.1


def scores(ids: list[int]) -> LogProbs:
    """Log probabilities whose best are `ids`, each surer than the one before."""
    out = np.full((len(ids), 5), 0.1, np.float32)
    out[np.arange(len(ids)), ids] = 0.5 + 0.4 * np.arange(len(ids)) / max(1, len(ids))
    logs: npt.NDArray[np.float32] = np.log(out)
    return logs


def run(tokenizer: Tokenizer, log_probs: LogProbs, cuts: list[int], endpoint: EndpointConfig = NEVER) -> list[Found]:
    words = CtcWords(tokenizer, frame_s=FRAME_S, endpoint=endpoint)
    state, found = words.start(), []
    for piece in np.split(log_probs, sorted(min(cut, len(log_probs)) for cut in cuts)):
        state, more = words.step(state, piece)
        found += more
    return [*found, words.close(state)[1]]


@pytest.mark.parametrize("tokenizer", [WORDS, LETTERS])
@given(ids=st.lists(st.integers(0, 4), max_size=60), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_portions_give_the_transcript_of_the_whole(tokenizer: Tokenizer, ids: list[int], cuts: list[int]) -> None:
    log_probs = scores(ids)
    tokens = decode_greedily(log_probs)
    pieces = tokenizer.word_pieces([token.id for token in tokens])
    got = [word for found in run(tokenizer, log_probs, cuts) for word in found.words]
    assert [(word.text, word.start_s, word.end_s) for word in got] == [
        (word, tokens[first].first * FRAME_S, tokens[end - 1].end * FRAME_S) for word, first, end in pieces
    ]
    for word, (_, first, end) in zip(got, pieces, strict=True):
        mean = sum(token.probability for token in tokens[first:end]) / (end - first)
        assert word.confidence == pytest.approx(mean, abs=1e-5)


@given(ids=st.lists(st.integers(0, 4), max_size=80), cuts=st.lists(st.integers(0, 80), max_size=8))
def test_endpoints_do_not_depend_on_portions(ids: list[int], cuts: list[int]) -> None:
    endpoint = EndpointConfig(pause_s=0.4, silence_s=0.7, longest_s=1.5, breath_s=0.2)

    def told(cuts: list[int]) -> list[tuple[str | None, int, tuple[str, ...]]]:
        found = run(LETTERS, scores(ids), cuts, endpoint)
        return [(item.rule, item.silence, tuple(word.text for word in item.words)) for item in found]

    assert told(cuts) == told([])


def test_letters_are_committed_when_the_next_word_begins() -> None:
    words = CtcWords(LETTERS, frame_s=FRAME_S, endpoint=NEVER)
    state, found = words.step(words.start(), scores([2, 0, 3, 0]))
    assert (found, words.tentative(state, None)) == ([], "ab")
    state, found = words.step(state, scores([4, 1]))
    assert [[word.text for word in item.words] for item in found] == [["abc"]]
    assert words.tentative(state, scores([2, 2, 0, 3])) == "ab"
    assert words.tentative(state, None) == ""


def test_whole_words_are_committed_when_their_unit_is_over() -> None:
    words = CtcWords(WORDS, frame_s=FRAME_S, endpoint=NEVER)
    state, found = words.step(words.start(), scores([1]))
    assert (found, words.tentative(state, None)) == ([], "one")
    state, found = words.step(state, scores([1, 2]))
    assert [[word.text for word in item.words] for item in found] == [["one"]]
    assert (found[0].words[0].start_s, found[0].words[0].end_s) == (0.0, 0.2)
    # Frames ahead of the final ones that go on with the open unit do not double it.
    assert words.tentative(state, scores([2, 2, 0, 2])) == "two two"


def test_a_unit_that_was_committed_at_an_endpoint_is_not_told_again() -> None:
    words = CtcWords(WORDS, frame_s=FRAME_S, endpoint=NEVER)
    state, _ = words.step(words.start(), scores([1]))
    state, closed = words.close(state)
    assert [word.text for word in closed.words] == ["one"]
    state, found = words.step(state, scores([1, 1, 0]))
    assert (found, words.close(state)[1].words) == ([], ())


def rules(ids: list[int], **settings: float | None) -> list[tuple[str, int, int]]:
    """(rule, first frame of the silence, frame it was told at) of each endpoint, frame by frame."""
    defaults: dict[str, float | None] = {"pause_s": None, "silence_s": None, "longest_s": None}
    endpoint = EndpointConfig(**{**defaults, **settings})  # type: ignore[arg-type]
    words = CtcWords(WORDS, frame_s=FRAME_S, endpoint=endpoint)
    state, told = words.start(), []
    for frame in range(len(ids)):
        state, found = words.step(state, scores([*ids])[frame : frame + 1])
        told += [(item.rule, item.silence, frame) for item in found if item.rule is not None]
    return told


def test_a_pause_after_words_ends_the_segment_once() -> None:
    assert rules([0] * 9 + [1] + [0] * 20 + [2] + [0] * 5, pause_s=0.5) == [("pause", 10, 14), ("pause", 31, 35)]


def test_silence_without_words_is_told_once() -> None:
    assert rules([0] * 30 + [1] + [0] * 30, silence_s=0.7) == [("silence", 0, 6)]
    assert rules([0] * 30 + [1] + [0] * 30, silence_s=0.7, pause_s=0.3) == [("silence", 0, 6), ("pause", 31, 33)]


def test_a_long_segment_ends_at_a_breath() -> None:
    ids = [1, 0, 2, 0] * 10
    assert rules(ids, longest_s=1.0, breath_s=0.1) == [("longest", n, n) for n in (9, 19, 29, 39)]
    assert rules(ids, longest_s=1.0, breath_s=0.2) == []  # nobody draws breath for two frames
    assert rules([1, 2, 0, 0, 0, 0], longest_s=0.5, breath_s=0.2) == [("longest", 2, 4)]


def test_state_does_not_grow() -> None:
    words = CtcWords(LETTERS, frame_s=FRAME_S, endpoint=NEVER)
    state: WordsState = words.start()
    for _ in range(500):
        state, _ = words.step(state, scores([2, 0, 3, 1]))
    assert len(state.tokens) <= 3
    assert replace(state).frames == 2000
