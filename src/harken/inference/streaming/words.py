"""From log probabilities that arrive bit by bit to words and endpoints: greedy CTC decoding with a memory.

Repeats are merged and blanks removed across all seams, as though the frames had come at once. A word is committed as
soon as no later frame can change its text: when the next word has begun, or, for a tokenizer of whole words, when its
unit is over. At an endpoint everything is committed.

Shapes: T output frames, V vocab.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harken.core import Tokenizer, Word
from harken.inference.greedy import BLANK, Token
from harken.inference.scoring import LogProbs
from harken.inference.streaming.config import EndpointConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsState:
    """`tokens` that are over but not committed, the `open` one, and where in the stream this is.

    `last_id` is the best id of the last frame, which a repeat is merged with even after the token was committed.
    """

    frames: int = 0
    tokens: tuple[Token, ...] = ()
    open: Token | None = None
    last_id: int = BLANK
    blanks: int = 0  # frames of silence up to here
    segment: int = 0  # frame the segment began with
    spoken: bool = False  # whether the segment has a word
    told: bool = False  # whether an endpoint has told of the silence that goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Words to commit, then, where `rule` is set, an endpoint whose silence began with frame `silence`."""

    words: tuple[Word, ...] = ()
    rule: str | None = None
    silence: int = 0


class CtcWords:
    """`state, found = step(state, log_probs_TV)`. Holds no audio and no text."""

    def __init__(self, tokenizer: Tokenizer, *, frame_s: float, endpoint: EndpointConfig) -> None:
        """`frame_s` is the time from one output frame to the next. Pauses are told where `endpoint` goes by blanks."""
        self.tokenizer, self.frame_s = tokenizer, frame_s
        by_blank = endpoint.source == "blank"
        self._pause = self._frames(endpoint.pause_s if by_blank else None)
        self._silence = self._frames(endpoint.silence_s if by_blank else None)
        self._longest = self._frames(endpoint.longest_s)
        self._breath = self._frames(endpoint.breath_s) or 1
        self.whole_words = all(len(tokenizer.word_pieces([id_, id_])) == 2 for id_ in range(1, tokenizer.vocab_size))

    def start(self) -> WordsState:
        return WordsState()

    def step(self, state: WordsState, log_probs_TV: LogProbs) -> tuple[WordsState, list[Found]]:
        """What frames that are final add: (T, V) log probabilities, T may be 0."""
        found: list[Found] = []
        for run in _runs(log_probs_TV):
            state, more = self._blanks(state, run.end) if run.id == BLANK else self._token(state, run)
            found += more
        return state, found

    def close(self, state: WordsState) -> tuple[WordsState, Found]:
        """Commit everything: the segment ends here."""
        tokens = state.tokens if state.open is None else (*state.tokens, state.open)
        after = replace(state, tokens=(), open=None, segment=state.frames, spoken=False, told=True)
        return after, Found(words=self._words(tokens), silence=state.frames - state.blanks)

    def tentative(self, state: WordsState, ahead_TV: LogProbs | None) -> str:
        """Text of what is not committed, with frames (T, V) that are not final yet."""
        tokens = [*state.tokens, *([] if state.open is None else [state.open])]
        last = state.last_id
        for run in _runs(ahead_TV) if ahead_TV is not None else ():
            if run.id not in (BLANK, last):
                tokens.append(run)
            last = run.id
        return self.tokenizer.decode([token.id for token in tokens])

    def _frames(self, seconds: float | None) -> int | None:
        return None if seconds is None else max(1, round(seconds / self.frame_s))

    def _token(self, state: WordsState, run: Token) -> tuple[WordsState, list[Found]]:
        """The state after frames of one unit."""
        count = run.end
        if run.id == state.last_id:  # goes on across a seam
            merged = None if state.open is None else _joined(state.open, run)
            return replace(state, frames=state.frames + count, open=merged), []
        state = self._shut(state)
        begun = replace(run, first=state.frames, end=state.frames + count)
        state = replace(
            state, frames=begun.end, open=begun, last_id=run.id, blanks=0, spoken=True, told=False,
            segment=state.segment if state.spoken else begun.first,
        )  # fmt: skip
        return self._commit(state)

    def _blanks(self, state: WordsState, count: int) -> tuple[WordsState, list[Found]]:
        """The state after `count` frames of blank, with the endpoint that falls among them."""
        state, found = self._commit(self._shut(replace(state, last_id=BLANK)))
        rule, at = self._endpoint(state, count)
        if rule is None:
            return replace(state, frames=state.frames + count, blanks=state.blanks + count), found
        state, closed = self.close(replace(state, frames=state.frames + at, blanks=state.blanks + at))
        state = replace(state, frames=state.frames + count - at, blanks=state.blanks + count - at)
        return state, [*found, replace(closed, rule=rule)]

    def _endpoint(self, state: WordsState, count: int) -> tuple[str | None, int]:
        """The first rule that holds within the next `count` blanks, and after how many of them."""
        due: list[tuple[int, str]] = []
        if state.spoken:
            if self._pause is not None:
                due.append((self._pause - state.blanks, "pause"))
            if self._longest is not None:
                length = self._longest - (state.frames - state.segment)
                due.append((max(length, self._breath - state.blanks), "longest"))
        elif self._silence is not None and not state.told:
            due.append((self._silence - state.blanks, "silence"))
        at, rule = min(due, default=(count + 1, ""))
        return (None, 0) if at > count else (rule, max(at, 0))

    def _shut(self, state: WordsState) -> WordsState:
        return state if state.open is None else replace(state, tokens=(*state.tokens, state.open), open=None)

    def _commit(self, state: WordsState) -> tuple[WordsState, list[Found]]:
        """Commit the words that are complete."""
        tokens = state.tokens
        if not tokens:
            return state, []
        if self.whole_words:
            done = len(tokens)
        else:
            ids = [token.id for token in tokens] + ([state.open.id] if state.open is not None else [])
            done = max((end for _, _, end in self.tokenizer.word_pieces(ids) if end < len(ids)), default=0)
        if not done:
            return state, []
        return replace(state, tokens=tokens[done:]), [Found(words=self._words(tokens[:done]))]

    def _words(self, tokens: tuple[Token, ...]) -> tuple[Word, ...]:
        return tuple(
            Word(
                text=word,
                start_s=tokens[first].first * self.frame_s,
                end_s=tokens[end - 1].end * self.frame_s,
                confidence=float(np.mean([token.probability for token in tokens[first:end]])),
            )
            for word, first, end in self.tokenizer.word_pieces([token.id for token in tokens])
        )


def _runs(log_probs_TV: LogProbs) -> Iterator[Token]:
    """Runs of one best id, blanks included; frames are counted from each run's own start."""
    if not len(log_probs_TV):
        return
    ids_T = log_probs_TV.argmax(1)
    probabilities_T = np.exp(log_probs_TV[np.arange(len(ids_T)), ids_T])
    starts = np.flatnonzero(np.concatenate([[True], ids_T[1:] != ids_T[:-1]]))
    for first, end in zip(starts, [*starts[1:], len(ids_T)], strict=True):
        mean = float(probabilities_T[first:end].mean())
        yield Token(id=int(ids_T[first]), first=0, end=int(end - first), probability=mean)


def _joined(before: Token, run: Token) -> Token:
    frames = before.end - before.first
    mean = (before.probability * frames + run.probability * run.end) / (frames + run.end)
    return replace(before, end=before.end + run.end, probability=mean)
