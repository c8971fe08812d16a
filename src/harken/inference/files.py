"""Transcribing many files with one recognizer: decode ahead, batch by length, lose none."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harken.audio.decode import DecodeLimits, decode_audio
from harken.core import HarkenError, Recognizer, Transcript, Waveform

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
    """One result per path, in order. A file that cannot be decoded gives its error and stops nothing.

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
    decoded = [item for item in audio if not isinstance(item, HarkenError)]
    transcripts = iter(recognizer.transcribe_batch(decoded))
    for name, item in zip(names, audio, strict=True):
        if isinstance(item, HarkenError):
            yield FileResult(path=name, error=item)
        else:
            yield FileResult(path=name, transcript=next(transcripts))
