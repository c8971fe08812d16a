"""Uploads that are no audio, or such as would cost more than they are worth: cases 1 to 14."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.serving.faults import sounds
from tests.serving.faults.canaries import PLAYLISTS, Watch
from tests.serving.faults.server_process import MIB, PATHS, ServerProcess, check_refusal
from tests.serving.faults.sounds import noise, recording, wav

NOT_AUDIO, DAMAGED, TOO_SHORT, WRONG = "audio_decode_error", "damaged_audio", "audio_too_short", "wrong_header"

BAD: dict[str, tuple[Callable[[], bytes], int, str, str]] = {
    "empty": (lambda: b"", 400, DAMAGED, "damaged"),
    "zero samples": (lambda: wav(b""), 400, TOO_SHORT, "too_short"),
    "99 ms": (lambda: wav(noise()[:3168]), 400, TOO_SHORT, "too_short"),
    "random bytes": (lambda: b"\x01" + noise(0.2), 415, NOT_AUDIO, "not_audio"),
    "truncated": (lambda: recording()[:9_000], 400, DAMAGED, "damaged"),
    "video only": (sounds.video_only, 415, NOT_AUDIO, "not_audio"),
    "IAMF": (lambda: b"\xf8\x06iamf\x00\x00" + bytes(200), 415, NOT_AUDIO, "not_audio"),
    "1 Hz": (lambda: wav(noise(), rate=1), 400, WRONG, "wrong_header"),
    "655,350 Hz of 8 channels": (sounds.forged_rate, 400, WRONG, "wrong_header"),
    "1024 channels": (lambda: wav(noise(), channels=1024), 400, WRONG, "wrong_header"),
    "65,535 channels": (lambda: wav(noise(), channels=65_535, bits=8), 400, WRONG, "wrong_header"),
    "a RIFF of 4 GB": (lambda: wav(noise(), says=0xFFFFFFF0), 400, DAMAGED, "damaged"),
    "NaN": (sounds.with_nan, 400, DAMAGED, "damaged"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", BAD)
def test_audio_that_cannot_be_heard_is_refused(server: ServerProcess, kind: str, path: str) -> None:
    make, status, code, reason = BAD[kind]
    line = f'asr_decode_failures_total{{reason="{reason}"}}'
    counted = server.metric(line)
    audio = make()
    with server.growth_below(64 * MIB):
        answer = server.post(path, audio)
    message = check_refusal(answer, path, status, code)
    assert "a.wav" not in message
    assert server.metric(line) == counted + 1
    row = server.audit(answer.headers["x-request-id"])
    assert (row["route"], row["status"], row["model"], row["details"]["error"]) == (path, status, None, code)


@pytest.mark.parametrize("path", PATHS)
def test_a_tenth_of_a_second_is_enough(server: ServerProcess, path: str) -> None:
    assert server.post(path, wav(noise()[:3200])).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_nothing_that_a_playlist_names_is_opened(server: ServerProcess, kind: str, path: str, tmp_path: Path) -> None:
    canaries = [tmp_path / "secret.wav", server.folder / "secret.wav"]  # by its whole path, and beside the server
    for canary in canaries:
        canary.write_bytes(recording())
    name, text = PLAYLISTS[kind]
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, closing(Watch(canaries)) as watch:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        text = text.format(canary=canaries[0], url=f"http://127.0.0.1:{port}/secret.ts", port=port)
        answer = server.post(path, text.encode(), name=name)
        check_refusal(answer, path, 415, NOT_AUDIO)
        assert not watch.was_opened()
        with pytest.raises(BlockingIOError):
            listener.accept()
        for canary in canaries:
            canary.read_bytes()
            assert watch.was_opened(), "the watch sees nothing at all"


@pytest.fixture(scope="module")
def hour_of_opus() -> bytes:
    audio = sounds.hours_of_opus(3600)
    assert 500_000 < len(audio) < 1_500_000
    return audio


@pytest.mark.parametrize("path", PATHS)
def test_an_hour_in_a_megabyte_is_beyond_ten_minutes(server: ServerProcess, path: str, hour_of_opus: bytes) -> None:
    with server.growth_below(64 * MIB):
        began_s = time.monotonic()
        answer = server.post(path, hour_of_opus, name="a.opus")
        took_s = time.monotonic() - began_s
    check_refusal(answer, path, 413, "audio_limit_error")
    assert took_s < 6, "it is not decoded to its end"
    assert server.metric('asr_decode_failures_total{reason="beyond_limits"}') >= 1
