"""Greedy, sampled and beam search over a decoder with a cache, for backends without a search of their own.

Shapes: N hypotheses (rows of the decoder's cache), V vocab, B windows, K beams, T tokens.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harken.core.stopping import check_stop
from harken.inference.whisper.backend import Search
from harken.inference.whisper.rules import Ids, Scores, TokenRules, log_sum

_CHUNK = 64


class StepDecoder(Protocol):
    """A decoder that remembers what it has read."""

    def first(self) -> Scores:
        """(B, V) scores of the token after each window's prompt; the caller may write into them."""
        ...

    def step(self, tokens_N: Ids, parents_N: Ids) -> Scores:
        """(N, V) scores after each hypothesis `parents_N[n]` of the step before goes on with `tokens_N[n]`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """Tokens before the end, and the summed log probability with the end."""

    ids: list[int]
    log_prob: float

    @property
    def average(self) -> float:
        return self.log_prob / (len(self.ids) + 1)

    def ranked(self, length_penalty: float) -> float:
        """The score by which hypotheses of one window compete."""
        if length_penalty == 0:
            return self.log_prob
        return self.log_prob / len(self.ids) ** length_penalty if self.ids else -np.inf


def find_best(decoder: StepDecoder, rules: TokenRules, search: Search, *, end_id: int) -> list[Hypothesis]:
    """The best hypothesis of each window."""
    if search.temperature == 0 and search.beam_size > 1:
        finished = _beam(decoder, rules, search, end_id)
    else:
        finished = _one_by_one(decoder, rules, search, end_id)
    return [max(found, key=lambda hypothesis: hypothesis.ranked(search.length_penalty)) for found in finished]


def _one_by_one(decoder: StepDecoder, rules: TokenRules, search: Search, end_id: int) -> list[list[Hypothesis]]:
    """Greedy search, or `best_of` independent draws at a temperature above 0."""
    scores = decoder.first()
    copies = search.best_of if search.temperature > 0 else 1
    windows = np.arange(len(scores))
    parents = np.repeat(windows, copies)  # rows of the decoder, and before the first step their windows
    owners, draws = parents.copy(), np.tile(np.arange(copies), len(windows))
    scores = scores[parents]
    chosen, totals = np.zeros((len(parents), 0), np.int64), np.zeros(len(parents))
    generators = [[np.random.default_rng((seed, copy)) for copy in range(copies)] for seed in search.seeds]
    finished: list[list[Hypothesis]] = [[] for _ in windows]
    while len(owners):
        check_stop()
        rules.apply(scores, chosen)
        if search.temperature > 0:
            uniform = np.array([generators[w][d].random() for w, d in zip(owners, draws, strict=True)])
            picked = _draw(scores, search.temperature, uniform)
        else:
            picked = scores.argmax(axis=1)
        totals += scores[np.arange(len(picked)), picked] - log_sum(scores)
        chosen = np.concatenate([chosen, picked[:, None]], axis=1)
        ended = picked == end_id
        over = ended | (chosen.shape[1] >= search.max_tokens)
        for n in np.flatnonzero(over):
            ids = chosen[n, : chosen.shape[1] - ended[n]].tolist()
            finished[owners[n]].append(Hypothesis(ids=ids, log_prob=float(totals[n])))
        going = np.flatnonzero(~over)
        parents = parents[going]
        chosen, totals, owners, draws = chosen[going], totals[going], owners[going], draws[going]
        if len(going):
            scores = decoder.step(picked[going], parents)
        parents = np.arange(len(going))
    return finished


def _draw(scores_NV: Scores, temperature: float, uniform_N: npt.NDArray[np.float64]) -> Ids:
    """One token of each row from its distribution at `temperature`, by the inverse of the cumulative sum."""
    scaled = scores_NV / np.float32(temperature)
    scaled -= scaled.max(axis=1, keepdims=True)
    sums = np.exp(scaled, out=scaled).cumsum(axis=1, dtype=np.float64)
    return np.array(
        [np.searchsorted(row, u * row[-1], side="right") for row, u in zip(sums, uniform_N, strict=True)], np.int64
    )


def _beam(decoder: StepDecoder, rules: TokenRules, search: Search, end_id: int) -> list[list[Hypothesis]]:
    """Beam search that stops a window once it has `beam_size` finished hypotheses, as OpenAI's does.

    Twice as many candidates as beams are looked at, so that one is there for each that ends (Sutskever et al. 2014).
    """
    beams = search.beam_size
    scores = decoder.first()
    owners = np.arange(len(scores))
    finished: list[list[Hypothesis]] = [[] for _ in owners]
    chosen = np.zeros((len(owners), 0), np.int64)
    totals = np.zeros((len(owners), 1))
    for step in range(search.max_tokens):
        check_stop()
        rules.apply(scores, chosen)
        parents, tokens, values = best_candidates(scores, totals, count=2 * beams)
        last = step + 1 == search.max_tokens
        kept: list[tuple[int, list[int]]] = []
        for row, owner in enumerate(owners):
            places = []
            spare = [place for place in range(beams, 2 * beams) if tokens[row, place] != end_id]
            for place in range(beams):
                ended = tokens[row, place] == end_id
                if (ended or last) and np.isfinite(values[row, place]):
                    ids = chosen[parents[row, place]].tolist() + ([] if ended else [int(tokens[row, place])])
                    finished[owner].append(Hypothesis(ids=ids, log_prob=float(values[row, place])))
                if ended and not spare:  # fewer tokens than candidates: nothing goes on in this beam
                    values[row, place] = -np.inf
                places.append(spare.pop(0) if ended and spare else place)
            if not last and len(finished[owner]) < beams:
                kept.append((row, places))
        if not kept:
            break
        rows = np.array([row for row, _ in kept])[:, None]
        places_AK = np.array([places for _, places in kept])
        parents_N, tokens_N = parents[rows, places_AK].ravel(), tokens[rows, places_AK].ravel()
        owners, totals = owners[rows[:, 0]], values[rows, places_AK]
        chosen = np.concatenate([chosen[parents_N], tokens_N[:, None]], axis=1)
        scores = decoder.step(tokens_N, parents_N)
    return finished


def best_candidates(
    scores_NV: Scores, totals_BK: npt.NDArray[np.float64], *, count: int
) -> tuple[Ids, Ids, npt.NDArray[np.float64]]:
    """The `count` best continuations of each window, best first: (hypothesis, token, summed log probability).

    Equal to sorting all K * V of them. A chunk of the vocabulary whose best is not among the `count` best chunks holds
    none of them, so only those chunks are sorted.
    """
    windows, beams = totals_BK.shape
    vocab = scores_NV.shape[1]
    offsets_BK = totals_BK - _finite(log_sum(scores_NV)).reshape(windows, beams)
    chunks = -(-vocab // _CHUNK)
    padded = np.full((windows, beams, chunks * _CHUNK), -np.inf, np.float32)
    padded[:, :, :vocab] = scores_NV.reshape(windows, beams, vocab)
    padded = padded.reshape(windows, beams, chunks, _CHUNK)
    peaks = (padded.max(axis=3) + offsets_BK[:, :, None]).reshape(windows, beams * chunks)
    wanted = min(count, beams * chunks)
    near = np.argpartition(-peaks, wanted - 1, axis=1)[:, :wanted] if wanted < peaks.shape[1] else _all(peaks)
    beam, chunk = near // chunks, near % chunks
    row = np.arange(windows)[:, None]
    values = (padded[row, beam, chunk] + offsets_BK[row, beam][:, :, None]).reshape(windows, -1)
    if values.shape[1] < count:
        values = np.pad(values, [(0, 0), (0, count - values.shape[1])], constant_values=-np.inf)
        beam, chunk = np.pad(beam, [(0, 0), (0, count)]), np.pad(chunk, [(0, 0), (0, count)])
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    beam = np.take_along_axis(beam, order // _CHUNK, axis=1)
    token = np.take_along_axis(chunk, order // _CHUNK, axis=1) * _CHUNK + order % _CHUNK
    token = np.minimum(token, vocab - 1)  # where fewer tokens than `count` are allowed, padding is among the rest
    return row * beams + beam, token, np.take_along_axis(values, order, axis=1)


def _all(peaks: npt.NDArray[np.float64]) -> Ids:
    return np.broadcast_to(np.arange(peaks.shape[1]), peaks.shape)


def _finite(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(np.isfinite(values), values, np.float32(0))
