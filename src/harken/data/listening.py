"""Listening to utterances: each one's audio read once and measured."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harken.core import HarkenError, Utterance
from harken.core.units import samples_to_seconds
from harken.data.threads import map_in_order

if TYPE_CHECKING:
    from harken.audio.fingerprint import Fingerprint
    from harken.audio.quality import AudioQuality

Progress = Callable[[int, int], None]
"""Called with how many utterances are done and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What listening to one utterance gave; without `quality` there is only a `problem`, as (check, message).

    `file_s` is the length of the file, `heard_s` of what was read of it. `digest` is equal for equal samples,
    `fingerprint` alike for the same recording at another level or in another codec.
    """

    problem: tuple[str, str] = ("", "")
    file_s: float = 0.0
    heard_s: float = 0.0
    digest: bytes = b""
    fingerprint: "Fingerprint | None" = None
    quality: "AudioQuality | None" = None


def listen(utterance: Utterance) -> Heard:
    """Read an utterance's audio at its own rate, channels averaged, and measure it. Never raises for bad audio."""
    from harken.audio.decode import decode_native, probe_audio
    from harken.audio.fingerprint import fingerprint
    from harken.audio.quality import measure_quality

    try:
        file_s = probe_audio(utterance.audio).duration_s
        if utterance.offset_s >= file_s > 0:
            message = f"it begins at {utterance.offset_s:.3f} s and the file ends at {file_s:.3f} s"
            return Heard(problem=("offset_beyond_end", message), file_s=file_s)
        wanted_s = min(utterance.duration_s, file_s - utterance.offset_s)
        samples, rate = decode_native(utterance.audio, offset_s=utterance.offset_s, duration_s=wanted_s)
        waveform = np.ascontiguousarray(samples[0] if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32))
        if not len(waveform):
            return Heard(problem=("unreadable", "there are no samples in it"), file_s=file_s)
        return Heard(
            file_s=file_s,
            heard_s=samples_to_seconds(len(waveform), sample_rate_hz=rate),
            digest=hashlib.blake2b(waveform.tobytes() + rate.to_bytes(4, "little"), digest_size=16).digest(),
            fingerprint=fingerprint(waveform, sample_rate_hz=rate),
            quality=measure_quality(waveform, sample_rate_hz=rate),
        )
    except (HarkenError, OSError) as err:
        return Heard(problem=("unreadable", (getattr(err, "message", "") or str(err)).rstrip(".")))


def listen_to_all(
    utterances: Sequence[Utterance], *, threads: int | None = None, progress: Progress | None = None
) -> Generator[tuple[Utterance, Heard], None, None]:
    """Each utterance with what listening to it gave, in order; `threads` as for `map_in_order`."""
    import scipy.signal  # noqa: F401  two threads that import parts of SciPy at once can break the import

    for done, result in enumerate(map_in_order(listen, utterances, threads=threads), 1):
        yield result
        if progress:
            progress(done, len(utterances))
