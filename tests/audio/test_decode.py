"""Decoding: every format gives back what went in, every bad file is a named error, nothing else is ever opened."""

import io
import math
import os
import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from harken.audio import decode_audio, probe_audio
from harken.audio.decode import AudioDecodeError, AudioLimitError, DecodeLimits, decode_native, stream_audio

RATE_HZ = 16_000


def speechlike(seconds: float = 1.0, rate_hz: int = RATE_HZ) -> npt.NDArray[np.float32]:
    """Three tones that swell and fade: easy for every codec, with a shape in time that shows a delay."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    envelope = 0.2 + 0.8 * np.sin(2 * np.pi * 3 * t) ** 2
    tones = sum(np.sin(2 * np.pi * hertz * t + hertz) for hertz in (300, 710, 1330))
    return (0.2 * envelope * tones).astype(np.float32)


SOUND = speechlike()


def encode(path: Path, codec: str, *, rate_hz: int = 48_000, container: str | None = None) -> Path:
    """SOUND as a compressed file, written with PyAV."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz)
        stream.layout = "mono"
        samples = speechlike(rate_hz=rate_hz)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate_hz)
        for piece in resampler.resample(frame):
            fifo = av.AudioFifo()
            fifo.write(piece)
            written = 0
            while (part := fifo.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
                part.pts, part.time_base = written, Fraction(1, rate_hz)
                written += part.samples
                output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path


def write(path: Path, samples: npt.NDArray[Any], rate_hz: int = RATE_HZ, **options: Any) -> Path:
    soundfile.write(path, samples, rate_hz, **options)
    return path


# What goes in comes out


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("a.wav", {"subtype": "PCM_16"}, 1 / 32_768),
        ("a.wav", {"subtype": "PCM_24"}, 1 / 2**22),
        ("a.wav", {"subtype": "FLOAT"}, 0.0),
        ("a.wav", {"subtype": "PCM_U8"}, 1 / 100),
        ("a.flac", {"subtype": "PCM_16"}, 1 / 32_768),
        ("a.aiff", {"subtype": "PCM_16"}, 1 / 32_768),
    ],
)
def test_lossless_formats(tmp_path: Path, name: str, options: dict[str, Any], error: float) -> None:
    path = write(tmp_path / name, SOUND, **options)
    decoded = decode_audio(path)
    assert decoded.dtype == np.float32
    assert decoded.shape == SOUND.shape
    assert np.abs(decoded - SOUND).max() <= error
    np.testing.assert_array_equal(decode_audio(str(path)), decoded)
    np.testing.assert_array_equal(decode_audio(path.read_bytes()), decoded)


def lossy(tmp_path: Path, kind: str) -> Path:
    if kind in ("mp3", "ogg", "opus"):
        subtype = {"mp3": "MPEG_LAYER_III", "ogg": "VORBIS", "opus": "OPUS"}[kind]
        form = "MP3" if kind == "mp3" else "OGG"
        return write(tmp_path / f"a.{kind}", SOUND, format=form, subtype=subtype)
    codec, rate_hz, container = {
        "m4a": ("aac", 16_000, "mp4"),
        "webm": ("libopus", 48_000, "webm"),
        "aac": ("aac", 16_000, "adts"),
    }[kind]
    return encode(tmp_path / f"a.{kind}", codec, rate_hz=rate_hz, container=container)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus", "m4a", "webm", "aac"])
def test_lossy_formats(tmp_path: Path, kind: str) -> None:
    path = lossy(tmp_path, kind)
    decoded = decode_audio(path)
    slack = 2_100 if kind == "aac" else 400  # bare AAC frames say nothing of the encoder's delay
    assert abs(len(decoded) - len(SOUND)) <= slack
    delay = lag(decoded, SOUND)
    assert abs(delay) <= (2_100 if kind == "aac" else 16)
    shifted = decoded[delay : delay + len(SOUND)] if delay >= 0 else np.pad(decoded, (-delay, 0))[: len(SOUND)]
    count = min(len(shifted), len(SOUND))
    assert np.corrcoef(shifted[:count], SOUND[:count])[0, 1] > 0.98
    np.testing.assert_array_equal(decode_audio(path.read_bytes()), decoded)


def lag(decoded: npt.NDArray[np.float32], original: npt.NDArray[np.float32]) -> int:
    """Samples by which `decoded` comes late, where the two agree best."""
    from scipy.signal import correlate

    return int(np.argmax(correlate(decoded, original, method="fft"))) - (len(original) - 1)


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.stack([SOUND, 0.5 * SOUND[::-1]], axis=1)
    path = write(tmp_path / "a.wav", stereo, subtype="FLOAT")
    np.testing.assert_allclose(decode_audio(path), stereo.mean(axis=1), atol=1e-7)
    channels, rate_hz = decode_native(path)
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(channels, stereo.T)


def test_another_rate_is_resampled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", speechlike(rate_hz=44_100), 44_100, subtype="FLOAT")
    decoded = decode_audio(path)
    assert len(decoded) == RATE_HZ
    assert np.abs(decoded - SOUND)[200:-200].max() < 1e-3
    assert len(decode_audio(path, sample_rate_hz=8_000)) == 8_000


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.array([0.0, 3.0, -2.0, 0.5], dtype=np.float32), subtype="FLOAT")
    np.testing.assert_array_equal(decode_audio(path), [0.0, 1.0, -1.0, 0.5])


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize(("offset_s", "duration_s"), [(0.25, 0.5), (0.0, 0.1), (0.9, None), (0.123, 0.0625)])
def test_a_part_equals_a_slice(tmp_path: Path, name: str, offset_s: float, duration_s: float | None) -> None:
    path = write(tmp_path / name, SOUND)
    whole, part = decode_audio(path), decode_audio(path, offset_s=offset_s, duration_s=duration_s)
    first = round(offset_s * RATE_HZ)
    last = None if duration_s is None else round((offset_s + duration_s) * RATE_HZ)
    np.testing.assert_array_equal(part, whole[first:last])


def test_probe_says_what_decoding_finds(tmp_path: Path) -> None:
    info = probe_audio(write(tmp_path / "a.flac", np.stack([SOUND, SOUND], axis=1), 16_000))
    assert (info.duration_s, info.sample_rate_hz, info.channels, info.format) == (1.0, 16_000, 2, "flac")


# What is no audio


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("just some words", encoding="utf-8")
    (tmp_path / "picture.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "zeros.wav").write_bytes(bytes(5000))
    for name, message in (
        ("absent.wav", "does not exist"),
        ("empty.wav", "is empty"),
        ("text.wav", "is text that begins with 'just some words'"),
        ("picture.wav", "is a PNG picture"),
        ("zeros.wav", "begins with 512 zero bytes"),
        (".", "is a folder"),
    ):
        with pytest.raises(AudioDecodeError, match=message) as caught:
            decode_audio(tmp_path / name)
        assert str(tmp_path) in str(caught.value)
    with pytest.raises(AudioDecodeError, match="is empty"):
        decode_audio(b"")


def test_a_file_without_frames(tmp_path: Path) -> None:
    with pytest.raises(AudioDecodeError, match=r"none\.wav has 0 audio frames\. Record or export it again"):
        decode_audio(write(tmp_path / "none.wav", np.zeros(0, dtype=np.float32)))


def test_the_delay_of_an_opus_encoder_is_removed(tmp_path: Path) -> None:
    """FFmpeg writes a pre-skip of 312 samples at 48 kHz, which is 6.5 ms."""
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
    sound = np.convolve(sound, np.hanning(31) / 16, mode="same").astype(np.float32)
    with av.open(str(tmp_path / "a.opus"), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(sound[None, :], format="flt", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    decoded, rate = decode_native(tmp_path / "a.opus")
    assert (rate, decoded.shape) == (48_000, (1, 48_000))
    lags = np.correlate(decoded[0], sound[2_000:-2_000], mode="valid")
    assert int(np.argmax(lags)) == 2_000


def test_a_part_behind_the_end(tmp_path: Path) -> None:
    with pytest.raises(AudioDecodeError, match=r"has nothing at offset 2\.0 s: it is .* long\. Correct the offset"):
        decode_audio(write(tmp_path / "a.wav", SOUND), offset_s=2.0)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize("keep", [30, 300, 9_000])
def test_a_truncated_file_is_an_error_and_never_silence(tmp_path: Path, name: str, keep: int) -> None:
    data = write(tmp_path / name, SOUND).read_bytes()
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(data[: min(keep, len(data) * 2 // 3)])
    try:
        decoded = decode_audio(cut)
    except AudioDecodeError as err:
        assert str(cut) in str(err)  # noqa: PT017 - either outcome is right; what is decoded has to be real
    else:
        assert 0 < len(decoded) < len(SOUND)
        assert np.corrcoef(decoded, SOUND[: len(decoded)])[0, 1] > 0.9


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    samples = SOUND.copy()
    samples[100:103] = [np.nan, np.inf, -np.inf]
    with pytest.raises(AudioDecodeError, match=r"a\.wav has 3 samples that are not numbers"):
        decode_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"))


def test_floats_on_another_scale_are_refused_and_slight_overshoot_is_clipped(tmp_path: Path) -> None:
    write(tmp_path / "hot.wav", 1.5 * SOUND / np.abs(SOUND).max(), subtype="FLOAT")
    assert np.abs(decode_audio(tmp_path / "hot.wav")).max() == 1.0
    write(tmp_path / "integers.wav", 32_768 * SOUND / np.abs(SOUND).max(), subtype="FLOAT")
    with pytest.raises(AudioDecodeError, match=r"integers\.wav has float samples up to 32,768; full scale is 1"):
        decode_audio(tmp_path / "integers.wav")


@pytest.mark.parametrize(("offset_s", "duration_s"), [(-1.0, None), (math.nan, None), (0.0, 0.0), (0.0, math.inf)])
def test_a_part_that_makes_no_sense(tmp_path: Path, offset_s: float, duration_s: float | None) -> None:
    with pytest.raises(ValueError, match=r"(offset|duration)_s is"):
        decode_audio(write(tmp_path / "a.wav", SOUND), offset_s=offset_s, duration_s=duration_s)


# Files that want other files opened


@pytest.mark.parametrize("name", ["list.wav", "list.m3u8", "list.mp3"])
@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile {target}\n",
        "#EXTM3U\n#EXTINF:1,\n{target}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "[playlist]\nFile1={target}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na=control:{target}\n",
        "concat:{target}|{target}",
    ],
)
def test_a_playlist_never_opens_what_it_names(tmp_path: Path, name: str, text: str) -> None:
    target = tmp_path / "target.fifo"
    os.mkfifo(target)  # opening it for reading would hang, so the check below would never be reached
    path = tmp_path / name
    path.write_text(text.format(target=target), encoding="utf-8")
    opened: list[str] = []
    watch = {"on": True}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watch["on"] and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    try:
        with pytest.raises(AudioDecodeError, match="is not audio of a known kind"):
            decode_audio(path)
        with pytest.raises(AudioDecodeError, match="is not audio of a known kind"):
            decode_audio(path.read_bytes())
        with pytest.raises(AudioDecodeError):
            probe_audio(path)
    finally:
        watch["on"] = False
    assert str(path) in opened
    assert str(target) not in opened


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioDecodeError, match="is a device or a pipe"):
        decode_audio(tmp_path / "pipe.wav")


# Headers that lie, and limits


def wav_header(*, rate_hz: int, channels: int, data_bytes: int, bits: int = 16) -> bytes:
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, (rate_hz * width) % 2**32, width % 65_536, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", min(len(chunks) + data_bytes, 2**32 - 1)) + chunks


@pytest.mark.parametrize(
    ("rate_hz", "channels", "message"),
    [(1, 1, "sample rate of 1 Hz"), (655_350, 1, "sample rate of 655,350 Hz"), (16_000, 1024, "1,024 channels")],
)
def test_headers_that_no_recording_has(tmp_path: Path, rate_hz: int, channels: int, message: str) -> None:
    data = wav_header(rate_hz=rate_hz, channels=channels, data_bytes=8_192) + bytes(8_192)
    path = tmp_path / "odd.wav"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(AudioDecodeError, match=message):
            decode_audio(source)
        with pytest.raises(AudioDecodeError, match=message):
            probe_audio(source)


def test_a_header_that_declares_4_gb_costs_what_is_there(tmp_path: Path) -> None:
    import tracemalloc

    pcm = (SOUND * 32_767).astype("<i2").tobytes()
    path = tmp_path / "huge.wav"
    path.write_bytes(wav_header(rate_hz=16_000, channels=1, data_bytes=2**32 - 100) + pcm)
    tracemalloc.start()
    try:
        decoded = decode_audio(path)
    except AudioDecodeError as err:
        assert "huge.wav" in str(err)  # noqa: PT017 - refusing it is right too
    else:
        np.testing.assert_allclose(decoded, SOUND, atol=1e-4)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100 * 2**20


def test_limits_hold(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", SOUND)
    for limits in (DecodeLimits(max_duration_s=0.5), DecodeLimits(max_bytes=10_000), DecodeLimits(max_bytes=40_000)):
        with pytest.raises(AudioLimitError, match=r"a\.wav"):
            decode_audio(path, limits=limits)
    part = decode_audio(path, offset_s=0.2, duration_s=0.5, limits=DecodeLimits(max_duration_s=0.5))
    assert len(part) == 8_000  # the limit is for what is returned


def test_a_small_file_cannot_become_gigabytes(tmp_path: Path) -> None:
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(600 * 16_000, dtype=np.float32), 16_000, format="FLAC")
    assert len(silence.getvalue()) < 1_000_000  # ten minutes of nothing
    with pytest.raises(AudioLimitError, match="at most 1 min 00 s"):
        decode_audio(silence.getvalue(), limits=DecodeLimits(max_duration_s=60.0))


@pytest.mark.parametrize(
    ("field", "value"), [("max_bytes", 0), ("max_duration_s", 0.0), ("max_channels", 0), ("min_sample_rate_hz", 0)]
)
def test_limits_are_checked(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        DecodeLimits(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "rate_hz"), [("a.wav", 16_000), ("a.flac", 16_000), ("a.wav", 8_000)])
def test_a_stream_gives_in_pieces_what_decoding_gives_at_once(tmp_path: Path, name: str, rate_hz: int) -> None:
    soundfile.write(tmp_path / name, np.tile(SOUND, 150), RATE_HZ)
    pieces = list(stream_audio(tmp_path / name, sample_rate_hz=rate_hz))
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 1 << 20
    np.testing.assert_array_equal(np.concatenate(pieces), decode_audio(tmp_path / name, sample_rate_hz=rate_hz))


def test_a_stream_may_be_longer_than_memory(tmp_path: Path) -> None:
    """`max_bytes` is for what is held: the file, and what is decoded at once; a stream is held a piece at a time."""
    soundfile.write(tmp_path / "long.flac", np.zeros(600 * 16_000, dtype=np.float32), 16_000)
    small = DecodeLimits(max_bytes=1_000_000)
    with pytest.raises(AudioLimitError, match=r"at most 15\.6 s"):
        decode_audio(tmp_path / "long.flac", limits=small)
    for rate_hz in (16_000, 8_000, 24_000):
        pieces = stream_audio(tmp_path / "long.flac", sample_rate_hz=rate_hz, limits=small)
        assert sum(map(len, pieces)) == 600 * rate_hz
    with pytest.raises(AudioLimitError, match="at most 9 min 59 s"):
        list(stream_audio(tmp_path / "long.flac", limits=DecodeLimits(max_duration_s=599.0)))
    with pytest.raises(AudioLimitError, match="the limit is 1000 B"):
        list(stream_audio(tmp_path / "long.flac", limits=DecodeLimits(max_bytes=1_000)))


def test_a_stream_raises_where_the_damage_is(tmp_path: Path) -> None:
    samples = np.tile(SOUND, 150)
    samples[1_500_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    given: list[int] = []
    with pytest.raises(AudioDecodeError, match="1 samples that are not numbers"):
        given.extend(len(piece) for piece in stream_audio(tmp_path / "a.wav"))
    assert 0 < sum(given) <= 1_500_000
