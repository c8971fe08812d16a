"""Transcribing many files with one recognizer: decode ahead, batch by length, lose none."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harken.audio.decode import DecodeLimits, stream_audio
from harken.core import HarkenError, InputError, Recognizer, RunFailed, Transcript, Waveform
from harken.core.units import seconds_to_samples

WINDOW_FILES = 256
WINDOW_S = 600.0
LONG_S = 120.0
READ_AHEAD = 24  # files


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of one file: a transcript, or the error that says why there is none."""

    path: str
    transcript: Transcript | None = None
    error: HarkenError | None = None


class _TooLong:
    """In the place of samples: a file that the recognizer reads itself, a piece at a time."""


_Decoded = Waveform | HarkenError | _TooLong


def transcribe_files(
    recognizer: Recognizer,
    paths: Iterable[str | Path],
    *,
    workers: int = 2,
    limits: DecodeLimits | None = None,
) -> Iterator[FileResult]:
    """One result per path, in order. A file that cannot be decoded, or that the recognizer refuses, gives its error
    and stops nothing.

    Files are decoded by `workers` threads and handed to the recognizer in windows of `WINDOW_FILES` files or `WINDOW_S`
    seconds, which it batches by length; one longer than `LONG_S` is handed over as a path. Memory does not grow with
    the number of files or their length.
    """
    limits = limits or DecodeLimits()
    names = (str(path) for path in paths)
    longest = seconds_to_samples(LONG_S, sample_rate_hz=recognizer.sample_rate_hz)
    enough = seconds_to_samples(WINDOW_S, sample_rate_hz=recognizer.sample_rate_hz)

    def decode(path: str) -> _Decoded:
        pieces: list[Waveform] = []
        try:
            for piece in stream_audio(path, sample_rate_hz=recognizer.sample_rate_hz, limits=limits):
                pieces.append(piece)
                if sum(map(len, pieces)) > longest:
                    return _TooLong()
        except HarkenError as err:
            return err
        return np.concatenate(pieces)

    with _decoding(names, decode, workers=workers) as files:
        window: list[tuple[str, _Decoded]] = []
        samples = 0
        for name, item in files:
            window.append((name, item))
            samples += len(item) if isinstance(item, np.ndarray) else 0
            if len(window) >= WINDOW_FILES or samples >= enough:
                yield from _window_results(recognizer, window)
                window, samples = [], 0
        yield from _window_results(recognizer, window)


@contextmanager
def _decoding(
    names: Iterator[str], decode: Callable[[str], _Decoded], *, workers: int
) -> Iterator[Iterator[tuple[str, _Decoded]]]:
    """What becomes of each name, in order, `READ_AHEAD` of them decoded meanwhile."""
    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="decode")
    ahead: deque[tuple[str, Future[_Decoded]]] = deque()

    def items() -> Iterator[tuple[str, _Decoded]]:
        for name in names:
            ahead.append((name, pool.submit(decode, name)))
            if len(ahead) > READ_AHEAD:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()

    try:
        yield items()
    finally:
        pool.shutdown(cancel_futures=True)


def _window_results(recognizer: Recognizer, window: Sequence[tuple[str, _Decoded]]) -> Iterator[FileResult]:
    decoded = [(name, item) for name, item in window if isinstance(item, np.ndarray)]
    recognized = iter(_together(recognizer, decoded))
    for name, item in window:
        if isinstance(item, HarkenError):
            yield FileResult(path=name, error=item)
        elif isinstance(item, _TooLong):
            yield _alone(recognizer, name)
        else:
            yield next(recognized)


def _alone(recognizer: Recognizer, name: str) -> FileResult:
    try:
        return FileResult(path=name, transcript=recognizer.transcribe(name))
    except HarkenError as err:
        return FileResult(path=name, error=err)


def _together(recognizer: Recognizer, items: Sequence[tuple[str, Waveform]]) -> list[FileResult]:
    """Results of decoded files; where the batch is refused, those of its halves, so that only the culprit is lost."""
    try:
        transcripts = recognizer.transcribe_batch([waveform for _, waveform in items])
    except HarkenError as err:
        if len(items) == 1:
            return [FileResult(path=items[0][0], error=_named(items[0][0], err))]
        middle = len(items) // 2
        return [*_together(recognizer, items[:middle]), *_together(recognizer, items[middle:])]
    return [FileResult(path=name, transcript=t) for (name, _), t in zip(items, transcripts, strict=True)]


def _named(path: str, error: HarkenError) -> HarkenError:
    """The recognizer's error, of the same family, with the file it knew nothing of."""
    named = RunFailed if isinstance(error, RunFailed) else InputError
    found = named(f"{path}: {error.message}", hint=error.hint)
    found.__cause__ = error
    return found
