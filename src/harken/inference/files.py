"""Transcribing many files with one recognizer: decode ahead, batch by length, lose none."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harken.audio.decode import DecodeLimits, decode_audio
from harken.core import HarkenError, InputError, Recognizer, RunFailed, Transcript, Waveform

WINDOW_FILES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of one file: a transcript, or the error that says why there is none."""

    path: str
    transcript: Transcript | None = None
    error: HarkenError | None = None


def transcribe_files(
    recognizer: Recognizer,
    paths: Iterable[str | Path],
    *,
    workers: int = 2,
    limits: DecodeLimits | None = None,
) -> Iterator[FileResult]:
    """One result per path, in order. A file that cannot be decoded, or that the recognizer refuses, gives its error
    and stops nothing.

    Works through windows of `WINDOW_FILES` files: each is decoded by `workers` threads and handed to the recognizer
    whole, which batches by length. Memory is bounded by two windows of decoded audio.
    """
    limits = limits or DecodeLimits(max_duration_s=1800.0)
    names = (str(path) for path in paths)

    def decode(path: str) -> Waveform | HarkenError:
        try:
            return decode_audio(path, sample_rate_hz=recognizer.sample_rate_hz, limits=limits)
        except HarkenError as err:
            return err

    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="decode") as pool:
        window = list(islice(names, WINDOW_FILES))
        pending = [pool.submit(decode, name) for name in window]
        while window:
            audio = [future.result() for future in pending]
            upcoming = list(islice(names, WINDOW_FILES))
            pending = [pool.submit(decode, name) for name in upcoming]
            yield from _window_results(recognizer, window, audio)
            window = upcoming


def _window_results(
    recognizer: Recognizer, names: Sequence[str], audio: Sequence[Waveform | HarkenError]
) -> Iterator[FileResult]:
    decoded = [(name, item) for name, item in zip(names, audio, strict=True) if not isinstance(item, HarkenError)]
    recognized = iter(_together(recognizer, decoded))
    for name, item in zip(names, audio, strict=True):
        yield FileResult(path=name, error=item) if isinstance(item, HarkenError) else next(recognized)


def _together(recognizer: Recognizer, items: Sequence[tuple[str, Waveform]]) -> list[FileResult]:
    """Results of decoded files; where the batch is refused, one by one, so that only the culprit is lost."""
    try:
        transcripts = recognizer.transcribe_batch([waveform for _, waveform in items])
    except HarkenError as err:
        if len(items) == 1:
            return [FileResult(path=items[0][0], error=_named(items[0][0], err))]
        return [result for item in items for result in _together(recognizer, [item])]
    return [FileResult(path=name, transcript=t) for (name, _), t in zip(items, transcripts, strict=True)]


def _named(path: str, error: HarkenError) -> HarkenError:
    """The recognizer's error, of the same family, with the file it knew nothing of."""
    named = RunFailed if isinstance(error, RunFailed) else InputError
    found = named(f"{path}: {error.message}", hint=error.hint)
    found.__cause__ = error
    return found
