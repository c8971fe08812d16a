"""CTC prefix beam search (Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech Recognition using
Bi-Directional Recurrent DNNs", algorithm 1), in log space.

A prefix carries the log probability of all its alignments so far, those that end in a blank apart from those that end
in its last id, so that alignments of one text add up. NumPy picks the ids worth trying in each frame beforehand. A
frame in which none but the blank is worth it changes no order, so a run of them costs one addition a prefix, and loses
nothing that going through it frame by frame would keep.

Shapes: T output frames, V vocab.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from harken.core import Strict, Tokenizer
from harken.inference.ctc.alignment import align_ids, refuse_nan
from harken.inference.ctc.fusion import Context, Fusion
from harken.inference.greedy import BLANK, Token
from harken.inference.scoring import LogProbs

_IMPOSSIBLE = -math.inf
_FRAMES_AT_ONCE = 2048  # whose candidates are held as Python objects
_SCORE = itemgetter(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning(Strict):
    """What a beam search does not try; None tries everything.

    In each frame the ids of a log probability above `least_log_prob`, at most the `most_ids` best of them, and always
    the blank and the best id. Prefixes whose score is more than `margin` nats below the best are dropped.
    """

    least_log_prob: float | None = -7.0  # nats
    most_ids: int | None = 20
    margin: float | None = 15.0  # nats

    def __post_init__(self) -> None:
        if self.least_log_prob is not None and not (math.isfinite(self.least_log_prob) and self.least_log_prob < 0):
            raise ValueError(f"least_log_prob is {self.least_log_prob}; use nats below 0")
        if self.most_ids is not None and self.most_ids < 1:
            raise ValueError(f"most_ids is {self.most_ids}; use 1 or more")
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin > 0):
            raise ValueError(f"margin is {self.margin}; use nats above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A text with its score in nats: `log_prob`, of all its alignments, and what language model and hotwords add."""

    text: str
    ids: tuple[int, ...]
    score: float
    log_prob: float


class _Prefix:
    """A node of the tree of texts."""

    __slots__ = (
        "blank", "children", "context", "extensions", "gained", "id", "in_beam", "next_blank", "next_token", "parent",
        "token", "total",
    )  # fmt: skip

    def __init__(self, id_: int, parent: "_Prefix | None", context: Context | None) -> None:
        self.id, self.parent, self.context = id_, parent, context
        self.gained = 0.0 if context is None else context.score
        self.children: dict[int, _Prefix] = {}
        self.extensions: dict[int, Context] = {}  # contexts of children, whether or not they made it into the beam
        self.blank = self.token = self.total = self.next_blank = self.next_token = _IMPOSSIBLE
        self.in_beam = False

    def ids(self) -> tuple[int, ...]:
        found = []
        node = self
        while node.parent is not None:
            found.append(node.id)
            node = node.parent
        return tuple(reversed(found))


class BeamDecoder:
    """Beam search over the texts of a CTC model: answers `CtcDecoder`. Deterministic; of equal scores, the text whose
    ids come first in order.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, width: int, pruning: Pruning | None = None, fusion: Fusion | None = None
    ) -> None:
        """`width` is the number of texts kept from frame to frame; without `fusion` the sound alone decides."""
        if width < 1:
            raise ValueError(f"width is {width}; use 1 or more")
        self._tokenizer, self._width, self._fusion = tokenizer, width, fusion
        self._pruning = Pruning() if pruning is None else pruning
        self._margin = math.inf if self._pruning.margin is None else self._pruning.margin

    def __call__(self, log_probs_TV: LogProbs) -> list[Token]:
        """The tokens of the best text, on the frames of its best alignment. Raises InputError for NaN."""
        best = self._search(log_probs_TV)[0]
        return align_ids(log_probs_TV, best[1])

    def n_best(self, log_probs_TV: LogProbs, n: int) -> list[Hypothesis]:
        """The best texts, at most `n` and at most as many as the beam is wide, best first, each text once.

        Raises InputError for scores that are NaN.
        """
        if n < 1:
            raise ValueError(f"n is {n}; use 1 or more")
        found: dict[str, Hypothesis] = {}
        for cost, ids, log_prob in self._search(log_probs_TV):
            text = self._tokenizer.decode(ids)
            found.setdefault(text, Hypothesis(text=text, ids=ids, score=-cost, log_prob=log_prob))
        return list(found.values())[:n]

    def _search(self, log_probs_TV: LogProbs) -> list[tuple[float, tuple[int, ...], float]]:
        """(-score, ids, log probability) of the texts in the beam at the end, best first."""
        refuse_nan(log_probs_TV)
        root = _Prefix(BLANK, None, None if self._fusion is None else self._fusion.start())
        root.blank = root.total = 0.0
        root.in_beam = True
        beam = [root]
        for blank, tokens in candidates(log_probs_TV, self._pruning):
            if tokens:
                beam = self._step(beam, blank, tokens)
                continue
            for prefix in beam:
                prefix.blank = prefix.total = prefix.total + blank
                prefix.token = _IMPOSSIBLE
        return sorted((-(prefix.total + self._finish(prefix)), prefix.ids(), prefix.total) for prefix in beam)

    def _step(self, beam: list[_Prefix], blank: float, tokens: list[tuple[int, float]]) -> list[_Prefix]:
        """The beam after a frame: each prefix as it is, or with one of `tokens` more."""
        scores = dict(tokens)
        for prefix in beam:
            prefix.next_blank = prefix.total + blank
            prefix.next_token = prefix.token + scores.get(prefix.id, _IMPOSSIBLE)
        # (score, log probability, prefix or its parent, id to add or the blank for none)
        longer: list[tuple[float, float, _Prefix, int]] = []
        for prefix in beam:
            for id_, score in tokens:
                # An id follows itself only over a blank; else it is the same one lasting on.
                log_prob = score + (prefix.blank if id_ == prefix.id else prefix.total)
                child = prefix.children.get(id_)
                if child is not None and child.in_beam:
                    child.next_token = _log_add(child.next_token, log_prob)
                elif log_prob > _IMPOSSIBLE:
                    longer.append((log_prob + self._gained(prefix, id_), log_prob, prefix, id_))
        ranked: list[tuple[float, float, _Prefix, int]] = []
        for prefix in beam:
            prefix.blank, prefix.token = prefix.next_blank, prefix.next_token
            prefix.total = _log_add(prefix.blank, prefix.token)
            ranked.append((prefix.total + prefix.gained, prefix.total, prefix, BLANK))
        ranked += longer
        ranked.sort(key=_SCORE, reverse=True)  # stable: equals stay in the order in which they were found
        least = ranked[0][0] - self._margin
        kept = [self._enter(*row[1:]) for row in ranked[: self._width] if row[0] >= least]
        _drop(beam, kept)
        return kept

    def _gained(self, prefix: _Prefix, id_: int) -> float:
        if self._fusion is None or prefix.context is None:
            return 0.0
        context = prefix.extensions.get(id_)
        if context is None:
            context = prefix.extensions[id_] = self._fusion.extend(prefix.context, id_)
        return context.score

    def _finish(self, prefix: _Prefix) -> float:
        return 0.0 if self._fusion is None or prefix.context is None else self._fusion.finish(prefix.context)

    def _enter(self, log_prob: float, prefix: _Prefix, id_: int) -> _Prefix:
        if id_ == BLANK:
            return prefix
        child = prefix.children.get(id_)  # out of the beam, with descendants in it
        if child is None:
            child = prefix.children[id_] = _Prefix(id_, prefix, prefix.extensions.get(id_))
        child.blank, child.token, child.total = _IMPOSSIBLE, log_prob, log_prob
        return child


def candidates(log_probs_TV: LogProbs, pruning: Pruning) -> Iterator[tuple[float, list[tuple[int, float]]]]:
    """Frame by frame, the log probability of the blank and the (id, log probability) worth trying, by id.

    Consecutive frames without such an id come as one, the blank's log probabilities added up.
    """
    waiting: float | None = None
    for first in range(0, len(log_probs_TV), _FRAMES_AT_ONCE):
        piece_TV = log_probs_TV[first : first + _FRAMES_AT_ONCE]
        frames, ids = np.nonzero(_worth_trying(piece_TV, pruning))
        pairs = list(zip(ids.tolist(), piece_TV[frames, ids].tolist(), strict=True))
        ends = np.searchsorted(frames, np.arange(len(piece_TV)), side="right").tolist()
        start = 0
        for blank, end in zip(piece_TV[:, BLANK].tolist(), ends, strict=True):
            if start == end:
                waiting = (waiting or 0.0) + blank
                continue
            if waiting is not None:
                yield waiting, []
                waiting = None
            yield blank, pairs[start:end]
            start = end
    if waiting is not None:
        yield waiting, []


def _worth_trying(log_probs_TV: LogProbs, pruning: Pruning) -> npt.NDArray[np.bool_]:
    """(T, V), never true for the blank."""
    frames, units = log_probs_TV.shape
    least = _IMPOSSIBLE if pruning.least_log_prob is None else pruning.least_log_prob
    worth_TV = log_probs_TV > least
    worth_TV[np.arange(frames), log_probs_TV.argmax(1)] = True
    worth_TV[:, BLANK] = False
    if pruning.most_ids is not None and pruning.most_ids < units - 1:
        crowded = np.flatnonzero(np.count_nonzero(worth_TV, axis=1) > pruning.most_ids)
        tokens_TV, kept_TV = log_probs_TV[crowded, 1:], worth_TV[crowded, 1:]
        rest_TV = np.argpartition(-tokens_TV, pruning.most_ids - 1, axis=1)[:, pruning.most_ids :]
        np.put_along_axis(kept_TV, rest_TV, False, axis=1)
        worth_TV[crowded, 1:] = kept_TV
    return worth_TV


def _drop(before: Sequence[_Prefix], kept: Sequence[_Prefix]) -> None:
    """Mark who is in the beam, and forget texts that neither are in it nor begin one that is."""
    for prefix in before:
        prefix.in_beam = False
    for prefix in kept:
        prefix.in_beam = True
    for prefix in before:
        node = prefix
        while not node.in_beam and not node.children and node.parent is not None:
            node.parent.children.pop(node.id, None)
            node = node.parent


def _log_add(one: float, other: float) -> float:
    """ln(e^one + e^other)."""
    if one < other:
        one, other = other, one
    return one if other == _IMPOSSIBLE else one + math.log1p(math.exp(other - one))
