"""Recordings that are fine, and such as nobody would record."""

import io
import struct
from functools import cache

import numpy as np
import soundfile

RATE = 16_000


def wav(data: bytes, *, rate: int = RATE, channels: int = 1, bits: int = 16, kind: int = 1, says: int = -1) -> bytes:
    """A WAV; `says` is what its header claims as the size of its data."""
    step = bits // 8 * channels
    form = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * step % 2**32, step % 2**16, bits)
    size = len(data) if says < 0 else says
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size) + data


@cache
def noise(seconds: float = 1.0, seed: int = 0) -> bytes:
    """linear16 at 16 kHz."""
    samples = 0.2 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def recording(seconds: float = 1.0, seed: int = 0) -> bytes:
    return wav(noise(seconds, seed))


def with_nan() -> bytes:
    samples = np.full(RATE, 0.1, "<f4")
    samples[5] = np.nan
    return wav(samples.tobytes(), bits=32, kind=3)


def forged_rate() -> bytes:
    """FLAC of 8 channels at 655,350 Hz: 11 KB that decode to 42 MB."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((200_000, 8), np.int16), 655_350, format="FLAC")
    return file.getvalue()


def video_only() -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def hours_of_opus(seconds: int) -> bytes:
    """Ogg Opus of silence; an hour of it has about 1 MB."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = 6_000
        stream.options = {"frame_duration": "60", "compression_level": "0"}
        block = np.zeros((1, 48_000), np.float32)
        for second in range(seconds):
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48_000, second * 48_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
