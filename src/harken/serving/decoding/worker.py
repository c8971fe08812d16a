"""A process that decodes one upload after the other: `python -m harken.serving.decoding.worker`, told its limits once.

One line of JSON a job on standard input, one a result on standard output. Media parsers are the part of a server that
strangers reach most easily, so they run here: without sockets, in little memory, to be killed at any time. The parent
believes nothing but numbers and texts of what comes back.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any, TextIO

from harken.audio.decode import stream_audio
from harken.audio.limits import AudioDecodeError, AudioLimitError, DecodeLimits
from harken.audio.readers import open_reader
from harken.audio.sniff import HEAD_BYTES, identify
from harken.audio.source import open_source, printable
from harken.core import HarkenError, Waveform
from harken.core.units import seconds_to_samples
from harken.serving.decoding.decoded import HEADER_BYTES, write_samples
from harken.serving.decoding.errors import AudioTooShort, DamagedAudio, DecodingFailed, WrongHeader

ERRORS: dict[str, type[AudioDecodeError]] = {
    kind.__name__: kind
    for kind in (AudioDecodeError, AudioLimitError, AudioTooShort, DamagedAudio, DecodingFailed, WrongHeader)
}
"""What a worker may report, by name."""

_OPEN_FILES = 32
# Words of harken.audio, whose errors have no kinds of their own for these.
_NOTHING_TO_HEAR = ("has no audio track", "holds audio of a codec that is not decoded")
_NO_LENGTH = ("0 audio frames", "shorter than one sample")
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def main() -> None:
    jobs, results = _private_streams()
    settings = json.loads(jobs.readline())
    _warm_up()
    _close_in(settings)
    _reply(results, {"ready": True})
    for line in jobs:
        job = json.loads(line)
        signal.alarm(int(settings["time_limit_s"]) + 2)  # should the parent be gone, nobody else ends this
        _limit_processor_time(settings["time_limit_s"])
        _reply(results, _result(job))
        signal.alarm(0)


def _result(job: dict[str, Any]) -> dict[str, Any]:
    path = str(job["path"])
    try:
        return {"samples": decode_into(job)}
    except HarkenError as err:
        kind = type(err) if type(err) in ERRORS.values() else AudioDecodeError
        return {"error": kind.__name__, "message": _unnamed(err.message, path), "hint": err.hint}
    except MemoryError:
        return {
            "error": DecodingFailed.__name__,
            "message": "The audio needs more memory to decode than there is for one file.",
            "hint": "Export it as WAV or FLAC.",
        }


def decode_into(job: dict[str, Any]) -> int:
    """Decodes `path` into a new file `out`; returns its samples. Raises one of `ERRORS`."""
    path, rate, limits = str(job["path"]), int(job["sample_rate_hz"]), DecodeLimits(**job["limits"])
    _examine(path, limits)
    pieces = stream_audio(path, sample_rate_hz=rate, limits=limits)
    handle = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as file:
        samples = write_samples(file, _told_apart(pieces), sample_rate_hz=rate)
    if samples < max(1, seconds_to_samples(job["shortest_s"], sample_rate_hz=rate)):
        raise AudioTooShort(
            f"The audio is too short: {1000 * samples / rate:.3g} ms.",
            hint=f"Send {1000 * job['shortest_s']:.3g} ms or more.",
        )
    return samples


def _examine(path: str, limits: DecodeLimits) -> None:
    """Without decoding: raises AudioDecodeError for what is no audio, its children for audio that is wrong."""
    try:
        opened = open_source(path, limits)
    except AudioLimitError:
        raise
    except AudioDecodeError as err:
        raise DamagedAudio(err.message, hint=err.hint) from err
    with opened:
        identify(opened, opened.read_at(0, HEAD_BYTES))
        try:
            with closing(open_reader(opened, limits)):
                pass
        except AudioLimitError as err:
            raise WrongHeader(err.message, hint=err.hint) from err
        except AudioDecodeError as err:
            raise _narrowed(err) from err


def _told_apart(pieces: Iterator[Waveform]) -> Iterator[Waveform]:
    try:
        yield from pieces
    except AudioLimitError:
        raise
    except AudioDecodeError as err:
        raise _narrowed(err) from err


def _narrowed(error: AudioDecodeError) -> AudioDecodeError:
    """What is wrong with audio of a known kind: damage, unless nothing in it could ever be heard."""
    kind: type[AudioDecodeError] = DamagedAudio
    if any(words in error.message for words in _NOTHING_TO_HEAR):
        kind = AudioDecodeError
    elif any(words in error.message for words in _NO_LENGTH):
        kind = AudioTooShort
    return kind(error.message, hint=error.hint)


def _unnamed(message: str, path: str) -> str:
    """A message without the place of the temporary file, which is nobody's business."""
    return message.replace(printable(path), "The audio").replace(path, "The audio")


def _private_streams() -> tuple[TextIO, TextIO]:
    """Copies of standard input and output; what a library prints goes nowhere."""
    jobs, results = os.fdopen(os.dup(0), "r", encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    return jobs, results


def _warm_up() -> None:
    """Everything that decoding imports, before memory is limited."""
    import av  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401

    import harken.audio.av_reader
    import harken.audio.soundfile_reader  # noqa: F401


def _close_in(settings: dict[str, Any]) -> None:
    """Gives up what decoding does not need; none of it can be taken back."""
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "prctl"):
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    rate, longest_s = settings["most_sample_rate_hz"], settings["limits"]["max_duration_s"]
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_FSIZE: HEADER_BYTES + 4 * int(rate * (longest_s + 1)),
    }
    size = _virtual_bytes()
    if size is not None:  # libraries reserve far more addresses than they use: the limit counts from there
        limits[resource.RLIMIT_AS] = size + settings["memory_bytes"]
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def _limit_processor_time(seconds: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _virtual_bytes() -> int | None:
    """The size of this process, None where the system does not tell."""
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return None


def _reply(results: TextIO, value: dict[str, Any]) -> None:
    results.write(json.dumps(value) + "\n")
    results.flush()


def job_of(path: str, out: str, *, sample_rate_hz: int, shortest_s: float, limits: DecodeLimits) -> dict[str, Any]:
    """A line of standard input, as `decode_into` reads it."""
    return {
        "path": path,
        "out": out,
        "sample_rate_hz": sample_rate_hz,
        "shortest_s": shortest_s,
        "limits": asdict(limits),
    }


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
    sys.exit(0)
