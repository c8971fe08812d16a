"""Messages to samples."""

import numpy as np
import pytest

from harken.audio.telephone import compand
from harken.core import InputError
from harken.serving.live.frames import FrameDecoder, check_format


@pytest.mark.parametrize(("encoding", "law"), [("mulaw", "mu"), ("alaw", "a")])
def test_g711_has_the_published_values_and_the_steps_of_the_telephone(encoding, law) -> None:
    decoder = FrameDecoder(encoding, 8_000)
    values = np.rint(decoder.push(bytes(range(256))) * 32_768).astype(int)
    known = {"mu": {0x00: -32_124, 0x80: 32_124, 0xFF: 0, 0x8F: 16_764}, "a": {0xD5: 8, 0x55: -8, 0x2A: -32_256}}
    assert {code: values[code] for code in known[law]} == known[law]
    assert set(values) == set(compand(np.arange(-32_768, 32_768, dtype=np.int32), law))


@pytest.mark.parametrize("cut", [1, 3, 5, 64])
def test_a_cut_sample_waits_for_its_other_bytes(cut: int) -> None:
    samples = np.arange(-300, 300, dtype="<i2")
    decoder = FrameDecoder("linear16", 16_000)
    raw = samples.tobytes()
    pieces = [decoder.push(raw[first : first + cut]) for first in range(0, len(raw), cut)]
    np.testing.assert_array_equal(np.concatenate(pieces) * 32_768, samples)


def test_channels_are_mixed_down_wherever_a_message_ends() -> None:
    stereo = np.array([[8_192, 0], [-16_384, 16_384], [100, 300]], "<i2")
    decoder = FrameDecoder("linear16", 48_000, 2)
    raw = stereo.tobytes()
    pieces = [decoder.push(raw[:3]), decoder.push(raw[3:7]), decoder.push(raw[7:])]
    np.testing.assert_array_equal(np.concatenate(pieces) * 32_768, [4_096, 0, 200])


def test_floats_are_clipped_and_what_is_no_number_is_refused() -> None:
    decoder = FrameDecoder("linear32", 16_000)
    np.testing.assert_array_equal(decoder.push(np.array([0.5, -7.0, 1e30], "<f4").tobytes()), [0.5, -1.0, 1.0])
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match="NaN or infinity"):
            decoder.push(np.array([0.1, bad], "<f4").tobytes())
    np.testing.assert_array_equal(decoder.push(np.array([0.25], "<f4").tobytes()), [0.25])


def opus_packets(signal: np.ndarray, channels: int) -> list[bytes]:
    import av

    context = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.format, context.layout = 48_000, "flt", "mono" if channels == 1 else "stereo"
    packets: list[bytes] = []
    context.open()
    for first in range(0, len(signal) - 959, 960):
        block = np.repeat(signal[first : first + 960, None], channels, axis=1).astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=context.layout.name)
        frame.sample_rate, frame.pts = 48_000, first
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


@pytest.mark.parametrize("channels", [1, 2])
def test_packets_of_opus_sound_as_what_was_encoded(channels: int) -> None:
    signal = 0.4 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    packets = opus_packets(signal, channels)
    decoder = FrameDecoder("opus", 48_000, channels)
    decoded = np.concatenate([decoder.push(packet) for packet in packets])
    assert len(decoded) == 960 * len(packets)
    assert decoded.dtype == np.float32
    delay = 312  # samples at 48 kHz that the encoder looks ahead
    heard, expected = decoded[9_600:38_400], signal[9_600 - delay : 38_400 - delay]
    assert np.corrcoef(heard, expected)[0, 1] > 0.99
    assert len(decoder.push(b"")) == 0


def test_what_is_not_opus_is_refused_and_the_stream_goes_on() -> None:
    packets = opus_packets(0.3 * np.sin(np.arange(9_600) / 20), 1)
    decoder = FrameDecoder("opus", 48_000)
    decoder.push(packets[0])
    for bad in (b"\xff" * 7, b"OggS" + bytes(200_000)):
        with pytest.raises(InputError, match="Opus"):
            decoder.push(bad)
    assert len(decoder.push(packets[1])) == 960


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "problem"),
    [
        ("flac", 16_000, 1, "encoding is 'flac'"),
        ("linear16", 1, 1, "sample_rate is 1"),
        ("linear16", 655_350, 1, "sample_rate is 655350"),
        ("linear16", 16_000, 0, "channels is 0"),
        ("linear16", 16_000, 1_024, "channels is 1024"),
        ("opus", 16_000, 1, "sample_rate is 16000"),
        ("opus", 48_000, 3, "channels is 3"),
    ],
)
def test_formats_that_no_stream_takes(encoding: str, rate: int, channels: int, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        check_format(encoding, rate, channels)
