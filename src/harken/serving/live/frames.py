"""Messages of audio to samples: linear PCM, the telephone's G.711, and packets of Opus."""

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from harken.audio.samples import to_float
from harken.core import InputError, Waveform
from harken.serving.contract import Encoding

if TYPE_CHECKING:
    from av import AudioCodecContext

RATES_HZ = (8_000, 48_000)
MOST_CHANNELS = 8
OPUS_HZ = 48_000
_SAMPLE_BYTES = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}
_OPUS_BYTES = 61_298  # 48 frames of 1275 bytes with their lengths: no packet is longer (RFC 6716, 3.2.5)


def check_format(encoding: str, sample_rate_hz: int, channels: int) -> None:
    """Raises InputError for audio that no stream takes."""
    if encoding not in get_args(Encoding):
        raise InputError(f"encoding is {encoding!r}.", hint=f"Use one of {', '.join(get_args(Encoding))}.")
    if encoding == "opus" and sample_rate_hz != OPUS_HZ:
        raise InputError(f"sample_rate is {sample_rate_hz}.", hint=f"Opus is always decoded at {OPUS_HZ}.")
    if not RATES_HZ[0] <= sample_rate_hz <= RATES_HZ[1]:
        raise InputError(f"sample_rate is {sample_rate_hz}.", hint=f"Use {RATES_HZ[0]} to {RATES_HZ[1]} Hz.")
    most = 2 if encoding == "opus" else MOST_CHANNELS
    if not 1 <= channels <= most:
        raise InputError(f"channels is {channels}.", hint=f"Use 1 to {most}.")


class FrameDecoder:
    """Bytes to (samples,) float32 in [-1, 1] at the client's rate, channels mixed down to their mean.

    A sample that a message cuts waits for its other bytes; of Opus each message is one packet.
    """

    def __init__(self, encoding: Encoding, sample_rate_hz: int, channels: int = 1) -> None:
        """Raises InputError for a rate or a number of channels that no stream takes."""
        check_format(encoding, sample_rate_hz, channels)
        self.encoding, self.sample_rate_hz, self.channels = encoding, sample_rate_hz, channels
        self._cut = b""
        self._opus = _opus_decoder(channels) if encoding == "opus" else None

    @property
    def bytes_per_s(self) -> int | None:
        """Bytes of a second of audio, None where that varies and messages cannot be cut."""
        return None if self._opus is not None else _SAMPLE_BYTES[self.encoding] * self.channels * self.sample_rate_hz

    def push(self, audio: bytes) -> Waveform:
        """The samples that `audio` completes. Raises InputError for a packet that cannot be decoded, and for numbers
        that are not finite; what came before is not lost."""
        if self._opus is not None:
            return _decode_packet(self._opus, audio)
        held = self._cut + audio
        whole = len(held) - len(held) % (_SAMPLE_BYTES[self.encoding] * self.channels)
        self._cut = held[whole:]
        samples = _decode_pcm(held[:whole], self.encoding)
        if self.channels > 1:
            samples = samples.reshape(-1, self.channels).mean(axis=1, dtype=np.float32)
        return samples


def _decode_pcm(audio: bytes, encoding: str) -> Waveform:
    if encoding == "linear16":
        return to_float(np.frombuffer(audio, "<i2"))
    if encoding == "linear32":
        samples = np.frombuffer(audio, "<f4").astype(np.float32)
        if not np.isfinite(samples).all():
            raise InputError("The audio holds NaN or infinity.", hint="Send finite 32-bit floats in [-1, 1].")
        return np.clip(samples, -1.0, 1.0)
    codes = np.frombuffer(audio, np.uint8)
    return (_mu_law() if encoding == "mulaw" else _a_law())[codes]


@cache
def _mu_law() -> npt.NDArray[np.float32]:
    """What each byte stands for, after ITU-T G.711, table 2: all bits inverted, sign, 3 bits of octave, 4 of step."""
    codes = ~np.arange(256, dtype=np.uint8)
    octave, step = (codes >> 4 & 7).astype(np.int32), (codes & 15).astype(np.int32)
    magnitudes = ((step * 8 + 132) << octave) - 132
    return to_float(np.where(codes & 128, -magnitudes, magnitudes).astype(np.int16))


@cache
def _a_law() -> npt.NDArray[np.float32]:
    """Table 1 of G.711: even bits inverted, a set sign bit is positive, the two lowest octaves have equal steps."""
    codes = np.arange(256, dtype=np.uint8) ^ 0x55
    octave, step = (codes >> 4 & 7).astype(np.int32), (codes & 15).astype(np.int32)
    magnitudes = np.where(octave == 0, step * 16 + 8, (step * 16 + 264) << np.maximum(octave - 1, 0))
    return to_float(np.where(codes & 128, magnitudes, -magnitudes).astype(np.int16))


def _opus_decoder(channels: int) -> "AudioCodecContext":
    import av

    context: Any = av.CodecContext.create("libopus", "r")
    context.sample_rate = OPUS_HZ
    context.layout = "mono" if channels == 1 else "stereo"
    return context  # type: ignore[no-any-return]


def _decode_packet(context: "AudioCodecContext", packet: bytes) -> Waveform:
    import av

    if not packet:  # a packet that the sender left out (DTX)
        return np.zeros(0, np.float32)
    if len(packet) > _OPUS_BYTES:
        raise InputError(f"An Opus packet of {len(packet):,} bytes.", hint="Send one packet a message, no container.")
    try:
        frames = context.decode(av.Packet(packet))
    except (av.FFmpegError, ValueError) as err:
        raise InputError(
            f"A packet of {len(packet)} bytes is not Opus: {err}.", hint="Send one raw packet a message, no container."
        ) from err
    pieces = [_mono(frame) for frame in frames]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _mono(frame: Any) -> Waveform:
    """A decoded frame, packed or planar, as its mean over channels."""
    channels = frame.layout.nb_channels
    samples = to_float(frame.to_ndarray())
    samples = samples if frame.format.is_planar else samples.reshape(-1, channels).T
    mixed: Waveform = samples.mean(axis=0, dtype=np.float32)
    return np.clip(mixed, -1.0, 1.0)
