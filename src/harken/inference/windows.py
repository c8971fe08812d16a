"""Audio of any length for CTC models: windows with context on both sides, joined on their log probabilities.

Joining texts loses or doubles words at the seams; joined scores are decoded as though one pass had made them (the
buffered inference of NVIDIA NeMo's FrameBatchASR). Lengths are whole output frames, so that the frames of all windows
fall on one grid.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from harken.core import Waveform
from harken.inference.greedy import BLANK, Token
from harken.inference.scoring import CtcDecoder, LogProbs

_SILENCE = np.float32(-30.0)  # log probability of what is not said where nothing is
PIECE_FRAMES = 1500  # decoded at a time, about; a minute at 25 frames a second
CUT_FRAMES = 8  # the blanks a cut lies in the middle of


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Windows of a stream: each scores `chunk_samples` and hears `context_samples` more on both sides.

    Both are multiples of `frame_samples`, the samples from one output frame to the next.
    """

    frame_samples: int
    chunk_samples: int
    context_samples: int

    @classmethod
    def of(
        cls, *, frame_samples: int, window_samples: int, context_samples: int, chunk_frames: int | None = None
    ) -> "Grid":
        """The grid whose windows are about so long, context included; at least one frame is scored by each.

        `chunk_frames` are the output frames that a model attends as one chunk, None without chunks: windows then begin
        where a chunk of the whole stream does, with context of whole chunks, and at least one chunk is scored by each.
        """
        step = frame_samples * (chunk_frames or 1)
        context = -(-(context_samples // frame_samples * frame_samples) // step) * step
        chunk = (window_samples - 2 * context) // step * step
        return cls(frame_samples=frame_samples, chunk_samples=max(step, chunk), context_samples=context)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Samples of one window, and which output frames `[first, first + frames)` of it count; None: all from `first`."""

    samples: Waveform
    first: int
    frames: int | None


def windows_of(pieces: Iterable[Waveform], grid: Grid) -> Iterator[Window]:
    """The windows of a stream of samples in pieces of any size; memory holds one window and one piece."""
    ahead = grid.chunk_samples + grid.context_samples
    held = np.zeros(0, np.float32)
    before = 0  # samples of `held` that an earlier window has scored
    for piece in pieces:
        held = np.concatenate([held, piece])
        while len(held) > before + ahead:  # more than enough, so that the last window is never empty
            yield Window(
                samples=held[: before + ahead],
                first=before // grid.frame_samples,
                frames=grid.chunk_samples // grid.frame_samples,
            )
            scored = before + grid.chunk_samples
            before = min(scored, grid.context_samples)
            held = held[scored - before :]
    if len(held):
        yield Window(samples=held, first=before // grid.frame_samples, frames=None)


def silent_scores(frames: int, units: int) -> LogProbs:
    """(frames, units) log probabilities that say nothing is spoken."""
    scores = np.full((frames, units), _SILENCE, dtype=np.float32)
    scores[:, BLANK] = 0.0
    return scores


class PieceDecoder:
    """Decodes scores as they come, piece by piece, cutting where the model hears nothing.

    A cut lies in a run of blanks, so tokens never lose a frame; without such a run for two pieces it lies where
    `forced_cut` says. With a greedy decoder the result is that of one call; a language model starts anew
    at every cut.
    """

    def __init__(self, decode: CtcDecoder, *, piece_frames: int = PIECE_FRAMES) -> None:
        self._decode, self._piece_frames = decode, piece_frames
        self._held: list[LogProbs] = []
        self._frames = 0
        self._done = 0  # frames that are decoded

    def push(self, log_probs_TV: LogProbs) -> list[Token]:
        """The tokens that are certain after these scores; their frames count from the start of the stream."""
        self._held.append(log_probs_TV)
        self._frames += len(log_probs_TV)
        if self._frames < self._piece_frames:
            return []
        held = np.concatenate(self._held)
        cut = last_pause(held) or (forced_cut(held) if self._frames >= 2 * self._piece_frames else 0)
        self._held = [held[cut:]] if cut else [held]
        return self._take(held[:cut])

    def finish(self) -> list[Token]:
        """The tokens of what is left."""
        held, self._held = self._held, []
        return self._take(np.concatenate(held)) if held else []

    def _take(self, log_probs_TV: LogProbs) -> list[Token]:
        if not len(log_probs_TV):
            return []
        found = self._decode(log_probs_TV)
        start = self._done
        self._done += len(log_probs_TV)
        self._frames -= len(log_probs_TV)
        return [replace(token, first=token.first + start, end=token.end + start) for token in found]


def last_pause(log_probs_TV: LogProbs, frames: int = CUT_FRAMES) -> int:
    """The middle of the last run of at least `frames` blanks, 0 where there is none."""
    blank = np.concatenate([[False], log_probs_TV.argmax(1) == BLANK, [False]])
    edges = np.flatnonzero(blank[1:] != blank[:-1])
    starts, ends = edges[::2], edges[1::2]
    long_enough = np.flatnonzero(ends - starts >= frames)
    return 0 if not len(long_enough) else int((starts[long_enough[-1]] + ends[long_enough[-1]]) // 2)


def forced_cut(log_probs_TV: LogProbs) -> int:
    """A place in the second half that splits no token: its surest blank, else the last change of the best id.

    The middle, where one id is the best all along.
    """
    middle = len(log_probs_TV) // 2
    ids = log_probs_TV[middle:].argmax(1)
    blanks = np.flatnonzero(ids == BLANK)
    if len(blanks):
        return middle + int(blanks[log_probs_TV[middle + blanks, BLANK].argmax()])
    changes = np.flatnonzero(ids[1:] != ids[:-1])
    return middle + int(changes[-1] + 1 if len(changes) else 0)
