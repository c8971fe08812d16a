"""Speech through a lossy codec and back: MP3 and Opus by the encoders that FFmpeg (PyAV) brings, in memory."""

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harken.audio.level import keep_level
from harken.audio.resample import resample
from harken.core import MissingPart, Waveform
from harken.core.units import seconds_to_samples

LossyKind = Literal["mp3", "opus"]

_SHORTEST_S = 0.1  # of what is encoded: less than a few codec frames can come back as nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoder:
    """How FFmpeg calls an encoder and its container; both containers carry the delay, so decoding takes it away."""

    name: str
    container: str
    sample_format: str
    rates_hz: tuple[int, ...]
    options: tuple[tuple[str, str], ...]


# Nothing below 16 kHz: MP3 ends at 64 kbps there, and Opus comes back a tenth of a millisecond late. Constant bit
# rates, so that the number holds for every utterance. Opus' "voip" would high-pass voices, which moves them as well.
_ENCODERS: dict[LossyKind, _Encoder] = {
    "mp3": _Encoder(
        name="libmp3lame",
        container="mp3",
        sample_format="fltp",
        rates_hz=(16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        options=(),
    ),
    "opus": _Encoder(
        name="libopus",
        container="ogg",
        sample_format="flt",
        rates_hz=(16_000, 24_000, 48_000),
        options=(("application", "audio"), ("vbr", "off")),
    ),
}


def transcode(waveform: Waveform, kind: LossyKind, *, kbps: int, sample_rate_hz: int) -> Waveform:
    """(samples,) float32 after encoding at `kbps` and decoding: same length, no delay, active level kept.

    Audio at a rate that the codec does not take is encoded at the next higher one it does. Raises MissingPart when
    PyAV was built without the encoder. Equal input gives equal bytes on one machine; encoders choose their
    instructions by the processor, so another kind of processor may give other last bits.
    """
    check_codec(kind)
    if len(waveform) == 0:
        return waveform
    coded_hz = coded_rate_hz(kind, sample_rate_hz=sample_rate_hz)
    prepared = np.clip(resample(waveform, from_hz=sample_rate_hz, to_hz=coded_hz), -1.0, 1.0)
    shortest = seconds_to_samples(_SHORTEST_S, sample_rate_hz=coded_hz)
    prepared = np.pad(prepared, (0, max(0, shortest - len(prepared))))
    decoded, decoded_hz = _decode(encode(prepared, kind, kbps=kbps, sample_rate_hz=coded_hz), kind)
    decoded = resample(decoded, from_hz=decoded_hz, to_hz=sample_rate_hz)[: len(waveform)]
    fitted = np.zeros(len(waveform), np.float32)
    fitted[: len(decoded)] = decoded
    return keep_level(fitted, waveform, sample_rate_hz=sample_rate_hz)


def encode(waveform: Waveform, kind: LossyKind, *, kbps: int, sample_rate_hz: int) -> bytes:
    """A file of (samples,) float32 in [-1, 1] at one of the rates the codec takes."""
    import av

    encoder = _ENCODERS[kind]
    file = io.BytesIO()
    # Without random serial numbers and version strings equal audio makes equal files.
    with av.open(file, "w", format=encoder.container, options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(
            encoder.name, rate=sample_rate_hz, layout="mono", options=dict(encoder.options)
        )
        stream.bit_rate = 1000 * kbps
        stream.codec_context.format = encoder.sample_format
        stream.codec_context.thread_count = 1
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(waveform[None]), format=encoder.sample_format, layout="mono"
        )
        frame.sample_rate = sample_rate_hz
        for piece in (frame, None):
            container.mux(stream.encode(piece))
    return file.getvalue()


def _decode(data: bytes, kind: LossyKind) -> tuple[Waveform, int]:
    """Our own bytes, by FFmpeg: libsndfile leaves Opus late by what FFmpeg's container says to skip."""
    import av

    with av.open(io.BytesIO(data), mode="r", format=_ENCODERS[kind].container) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        pieces = [frame.to_ndarray()[0] for frame in container.decode(stream)]
        rate = stream.codec_context.sample_rate
    decoded = np.concatenate(pieces) if pieces else np.zeros(0)
    return decoded.astype(np.float32, copy=False), rate


def coded_rate_hz(kind: LossyKind, *, sample_rate_hz: int) -> int:
    """The rate audio is encoded at: its own where the codec takes it, else the next higher, else the highest."""
    rates = _ENCODERS[kind].rates_hz
    return min((rate for rate in rates if rate >= sample_rate_hz), default=rates[-1])


def check_codec(kind: LossyKind) -> None:
    """Raises MissingPart when PyAV was built without the encoder of a kind."""
    import av

    encoder = _ENCODERS[kind].name
    if encoder not in av.codecs_available:
        raise MissingPart(
            f"This build of PyAV has no encoder {encoder}, which {kind} needs.",
            hint="Install the published wheel: pip install --force-reinstall --only-binary av av.",
        )


def codec_facts(kind: LossyKind, *, kbps: int, sample_rate_hz: int) -> dict[str, Any]:
    """What a number under this codec should be stated with."""
    import av

    return {
        "codec": kind,
        "kbps": kbps,
        "coded_rate_hz": coded_rate_hz(kind, sample_rate_hz=sample_rate_hz),
        "encoder": _ENCODERS[kind].name,
        "pyav": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
    }
