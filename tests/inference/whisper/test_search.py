"""Search over a made-up decoder, compared with trying every sequence."""

from itertools import product

import numpy as np
import pytest

from harken.inference.whisper.backend import Search
from harken.inference.whisper.rules import Ids, Scores, SpecialIds, TokenRules
from harken.inference.whisper.search import Hypothesis, best_candidates, find_best

VOCAB, END = 5, 4


class Table:
    """Scores that depend on the window and on everything said so far, drawn from a seed."""

    def __init__(self, windows: int, spread: float = 2.0, vocab: int = VOCAB) -> None:
        self.spread, self.vocab = spread, vocab
        self.rows: list[tuple[int, ...]] = [(window,) for window in range(windows)]
        self.steps = 0

    def scores(self, row: tuple[int, ...]) -> np.ndarray:
        return (self.spread * np.random.default_rng(list(row)).standard_normal(self.vocab)).astype(np.float32)

    def first(self) -> Scores:
        return np.stack([self.scores(row) for row in self.rows])

    def step(self, tokens_N: Ids, parents_N: Ids) -> Scores:
        self.steps += 1
        self.rows = [(*self.rows[p], int(t)) for t, p in zip(tokens_N, parents_N, strict=True)]
        return np.stack([self.scores(row) for row in self.rows])


def rules(search: Search) -> TokenRules:
    special = SpecialIds(start=0, end=END, no_timestamps=0, first_time=None, no_speech=None)
    return TokenRules(special, search, suppressed=[], suppressed_first=[])


def find(search: Search, *, windows: int = 4) -> list[Hypothesis]:
    return find_best(Table(windows), rules(search), search, end_id=END)


def log_prob(window: int, ids: tuple[int, ...]) -> float:
    table, total, row = Table(1), 0.0, (window,)
    for token in ids:
        scores = table.scores(row).astype(np.float64)
        total += scores[token] - np.log(np.exp(scores).sum())
        row = (*row, token)
    return total


def every_sequence(longest: int) -> list[tuple[int, ...]]:
    texts = [t for n in range(longest) for t in product(range(VOCAB - 1), repeat=n)]
    return [(*t, END) for t in texts] + list(product(range(VOCAB - 1), repeat=longest))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(length_penalty: float) -> None:
    longest = 4
    search = Search(max_tokens=longest, beam_size=300, length_penalty=length_penalty)
    for window, found in enumerate(find(search)):
        options = []
        for ids in every_sequence(longest):
            text = [id_ for id_ in ids if id_ != END]
            options.append((Hypothesis(ids=text, log_prob=log_prob(window, ids)).ranked(length_penalty), text))
        best = max(options)
        assert found.ids == best[1]
        assert found.log_prob == pytest.approx(
            log_prob(window, (*best[1], *([END] if len(best[1]) < longest else []))), abs=1e-4
        )


def test_greedy_takes_the_best_token_each_time() -> None:
    for window, found in enumerate(find(Search(max_tokens=6))):
        row, ids = (window,), []
        while len(ids) < 6:
            token = int(Table(1).scores(row).argmax())
            if token == END:
                break
            ids.append(token)
            row = (*row, token)
        assert found.ids == ids
        full = (*ids, *([END] if len(ids) < 6 else []))
        assert found.log_prob == pytest.approx(log_prob(window, full), abs=1e-4)
        assert found.average == pytest.approx(found.log_prob / (len(ids) + 1))


def test_a_window_gives_the_same_alone_and_in_company() -> None:
    for search in (
        Search(max_tokens=5, beam_size=3),
        Search(max_tokens=5, temperature=0.8, best_of=3, seeds=(7, 7, 9, 1)),
    ):
        together = find(search, windows=4)
        alone = find(
            Search(**{**{f: getattr(search, f) for f in search.__slots__}, "seeds": search.seeds[:1]}), windows=1
        )
        assert alone[0] == together[0]


def test_beam_is_at_least_as_good_as_greedy_mostly() -> None:
    narrow = find(Search(max_tokens=5, length_penalty=0.0), windows=60)
    wide = find(Search(max_tokens=5, beam_size=4, length_penalty=0.0), windows=60)
    better = sum(w.log_prob >= n.log_prob - 1e-6 for w, n in zip(wide, narrow, strict=True))
    assert better >= 58


def test_draws_follow_the_distribution_at_their_temperature() -> None:
    draws = 4000
    search = Search(max_tokens=1, temperature=0.5, best_of=1, seeds=tuple(range(draws)))
    table = Table(draws)
    table.rows = [(3,)] * draws
    found = find_best(table, rules(search), search, end_id=END)
    scores = Table(1).scores((3,)).astype(np.float64) / 0.5
    expected = np.exp(scores) / np.exp(scores).sum()
    counts = np.bincount([h.ids[0] if h.ids else END for h in found], minlength=VOCAB) / draws
    np.testing.assert_allclose(counts, expected, atol=0.03)
    assert found == find_best(_repeated(draws), rules(search), search, end_id=END)


def _repeated(draws: int) -> Table:
    table = Table(draws)
    table.rows = [(3,)] * draws
    return table


@pytest.mark.parametrize("vocab", [3, 64, 65, 1000])
@pytest.mark.parametrize("beams", [1, 3])
def test_best_candidates_are_those_of_a_full_sort(vocab: int, beams: int) -> None:
    draw = np.random.default_rng(vocab)
    scores = draw.standard_normal((2 * beams, vocab)).astype(np.float32)
    scores[0, : vocab // 2] = -np.inf
    totals = draw.standard_normal((2, beams))
    count = min(6, beams * vocab // 2)
    parents, tokens, values = best_candidates(scores, totals, count=count)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    flat = (logs.reshape(2, beams, vocab) + totals[:, :, None]).reshape(2, -1)
    order = np.argsort(-flat, axis=1)[:, :count]
    np.testing.assert_array_equal(parents, order // vocab + np.array([[0], [beams]]))
    np.testing.assert_array_equal(tokens, order % vocab)
    np.testing.assert_allclose(values, np.take_along_axis(flat, order, axis=1), rtol=1e-5)


def test_candidates_beyond_what_is_allowed_are_real_tokens() -> None:
    scores = np.full((1, 3), -np.inf, np.float32)
    scores[0, 1] = 0.0
    _parents, tokens, values = best_candidates(scores, np.zeros((1, 1)), count=10)
    assert tokens[0, 0] == 1
    assert tokens.max() < 3
    assert values[0, 0] == 0.0
    assert np.isneginf(values[0, 1:]).all()
