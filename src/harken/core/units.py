"""Seconds, samples and frames: the one place where they are converted.

Spans are half-open, `[start, end)`. Inside signal code whole samples are the truth and seconds are derived.
"""

DEFAULT_SAMPLE_RATE_HZ = 16_000


def seconds_to_samples(seconds: float, *, sample_rate_hz: int) -> int:
    """Nearest sample index. Equal times give equal samples, so spans that touch keep touching."""
    return round(seconds * sample_rate_hz)


def samples_to_seconds(samples: int, *, sample_rate_hz: int) -> float:
    """Time in seconds of a sample index (or the duration of that many samples)."""
    return samples / sample_rate_hz


def frame_count(samples: int, *, hop_samples: int) -> int:
    """Frames of a centred short-time transform: one at sample 0, then one per full hop."""
    return 1 + samples // hop_samples


def frames_to_seconds(frames: int, *, hop_samples: int, sample_rate_hz: int) -> float:
    """Time in seconds at which frame number `frames` begins."""
    return frames * hop_samples / sample_rate_hz


def format_duration(seconds: float) -> str:
    """Short human form of a duration: "850 ms", "12.3 s", "4 min 05 s", "2 h 03 min"."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_bytes(count: float) -> str:
    """Binary size for people: "512 B", "3.4 MiB", "139.1 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
