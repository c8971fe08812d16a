"""What a worker says about bad uploads: the right error, no foreign file opened, nothing left behind."""

import asyncio
import ctypes
import os
import socket
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.audio.limits import AudioDecodeError, AudioLimitError, DecodeLimits
from harken.http.errors import STATUSES as HTTP_STATUSES
from harken.http.errors import status_of
from harken.serving.decoding import worker
from harken.serving.decoding.errors import STATUSES, AudioTooShort, DamagedAudio, DecodingFailed, WrongHeader
from harken.serving.decoding.pool import DecodePool
from harken.serving.decoding.settings import DecodeSettings

IN_ACCESS, IN_OPEN = 0x1, 0x20


def wav(data: bytes, *, rate: int = 16_000, channels: int = 1, bits: int = 16, kind: int = 1, says: int = -1) -> bytes:
    """A WAV; `says` is what its header claims as the size of its data."""
    step = bits // 8 * channels
    form = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * step % 2**32, step, bits)
    size = len(data) if says < 0 else says
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size) + data


SECOND = np.full(16_000, 1_000, "<i2").tobytes()
HOLED = np.full(16_000, 0.1, "<f4")
HOLED[5] = np.nan
RANDOM = np.random.default_rng(1).bytes(5_000)
DASH = b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>%s</BaseURL></MPD>'
BAD: dict[str, tuple[bytes, type[AudioDecodeError], int, str]] = {
    "empty": (b"", DamagedAudio, 400, "empty"),
    "no samples": (wav(b""), AudioTooShort, 400, "0 audio frames"),
    "6 ms": (wav(SECOND[:200]), AudioTooShort, 400, "too short: 6.25 ms"),
    "random bytes": (b"\x01" + RANDOM, AudioDecodeError, 415, "not audio of a known kind"),
    "truncated": (wav(SECOND)[:9_000], DamagedAudio, 400, "cut off"),
    "a size of 4 GB": (wav(SECOND, says=0xFFFFFFF0), DamagedAudio, 400, "cut off"),
    "1 Hz": (wav(SECOND, rate=1), WrongHeader, 400, "sample rate of 1 Hz"),
    "4 GHz": (wav(SECOND, rate=4_000_000_000), WrongHeader, 400, "sample rate"),
    "1024 channels": (wav(SECOND, channels=1_024), WrongHeader, 400, "1,024 channels"),
    "65535 channels": (wav(SECOND, channels=65_535, bits=8), WrongHeader, 400, "65,535 channels"),
    "NaN": (wav(HOLED.tobytes(), bits=32, kind=3), DamagedAudio, 400, "not numbers"),
    "IAMF": (b"\xf8\x06iamf\x00\x00" + bytes(200), AudioDecodeError, 415, "not audio of a known kind"),
    "SDP": (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n", AudioDecodeError, 415, "playlist"),
}


def outcome(path: Path, *, limits: DecodeLimits | None = None) -> AudioDecodeError:
    """The error that decoding a file ends with."""
    settings = DecodeSettings(
        workers=1, folder=path.parent / "decoded", **({} if limits is None else {"limits": limits})
    )

    async def main() -> AudioDecodeError:
        pool = DecodePool(settings)
        try:
            with closing(await pool.decode(path, sample_rate_hz=16_000)):
                raise AssertionError("it was decoded")
        except AudioDecodeError as err:
            return err
        finally:
            await pool.close()

    error = asyncio.run(main())
    assert list((path.parent / "decoded").iterdir()) == []
    assert str(path.parent) not in str(error), "the place of the upload is nobody's business"
    assert error.hint
    return error


def status(error: AudioDecodeError) -> int:
    return status_of(error, {**HTTP_STATUSES, **STATUSES})


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told_apart(tmp_path: Path, name: str) -> None:
    content, kind, code, words = BAD[name]
    (tmp_path / "upload").write_bytes(content)
    error = outcome(tmp_path / "upload")
    assert (type(error), status(error)) == (kind, code)
    assert words in error.message


def test_video_without_sound_is_no_audio(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "video.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    error = outcome(tmp_path / "video.mp4")
    assert (type(error), status(error)) == (AudioDecodeError, 415)
    assert "no audio track" in error.message


def test_a_rate_that_no_recording_has(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros((20_000, 8), np.int16), 655_350)
    error = outcome(tmp_path / "a.flac")
    assert (type(error), status(error)) == (WrongHeader, 400)


def test_audio_beyond_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(3 * SECOND))
    for limits in (DecodeLimits(max_duration_s=2.0), DecodeLimits(max_bytes=50_000)):
        error = outcome(tmp_path / "a.wav", limits=limits)
        assert (type(error), status(error)) == (AudioLimitError, 413)


@pytest.mark.parametrize("kind", ["ffconcat", "m3u8", "m3u8 named wav", "dash", "sdp"])
def test_nothing_that_an_upload_names_is_opened(tmp_path: Path, kind: str) -> None:
    canary = tmp_path / "secret.wav"
    canary.write_bytes(wav(SECOND))
    with closing(socket.create_server(("127.0.0.1", 0))) as server, closing(Watch(canary)) as watch:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/secret.ts"
        scripts = {
            "ffconcat": ("a.wav", f"ffconcat version 1.0\nfile 'secret.wav'\nfile '{canary}'\nfile '{url}'\n"),
            "m3u8": ("a.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXTINF:5,\n{canary}\n"),
            "m3u8 named wav": ("a.wav", f"#EXTM3U\n#EXTINF:5,\n{canary}\n"),
            "dash": ("a.mpd", (DASH % url.encode()).decode()),
            "sdp": ("a.sdp", f"v=0\nc=IN IP4 127.0.0.1\nm=audio {server.getsockname()[1]} RTP/AVP 0\n"),
        }
        name, text = scripts[kind]
        (tmp_path / name).write_text(text)
        error = outcome(tmp_path / name)
        assert (type(error), status(error)) == (AudioDecodeError, 415)
        assert "playlist" in error.message
        assert not watch.was_opened()
        with pytest.raises(BlockingIOError):
            server.accept()
        canary.read_bytes()
        assert watch.was_opened(), "the watch sees nothing at all"


class Watch:
    """Whether anybody opened a file since (inotify)."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._handle = library.inotify_init1(os.O_NONBLOCK)
        assert self._handle >= 0
        assert library.inotify_add_watch(self._handle, os.fsencode(path), IN_OPEN | IN_ACCESS) >= 0

    def was_opened(self) -> bool:
        try:
            return bool(os.read(self._handle, 4_096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._handle)


def test_memory_is_the_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_into(job: dict[str, object]) -> int:
        raise MemoryError

    monkeypatch.setattr(worker, "decode_into", decode_into)
    reply = worker._result({"path": "/spool/a.wav"})
    assert reply["error"] == DecodingFailed.__name__
    assert "memory" in reply["message"]
