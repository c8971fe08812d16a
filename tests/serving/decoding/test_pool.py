"""Uploads become samples in processes that can be killed, and nothing of them stays behind."""

import asyncio
import os
import signal
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from harken.audio.decode import decode_audio
from harken.audio.limits import AudioLimitError, DecodeLimits
from harken.core import RunFailed
from harken.serving.decoding.errors import DamagedAudio, DecodingFailed
from harken.serving.decoding.pool import DecodePool
from harken.serving.decoding.settings import DecodeSettings
from harken.serving.errors import QueueFull


@asynccontextmanager
async def pool_of(folder: Path, **settings: Any) -> AsyncIterator[DecodePool]:
    """A pool whose workers are up."""
    pool = DecodePool(DecodeSettings(folder=folder / "decoded", **({"workers": 1} | settings)))
    pool.start()
    while len(pool.pids()) < pool.settings.workers:
        await asyncio.sleep(0.01)
    try:
        yield pool
    finally:
        await pool.close()
    assert list((folder / "decoded").iterdir()) == []


def long_file(folder: Path, *, minutes: int) -> Path:
    """Silence at 96 kHz, a file without blocks on the disk, whose conversion keeps a worker busy."""
    path, rate = folder / "long.wav", 96_000
    size = 2 * rate * 60 * minutes
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size))
        file.truncate(44 + size)
    return path


def test_the_samples_are_those_of_decode_audio(tmp_path: Path, recordings: list[Path]) -> None:
    stereo = np.random.default_rng(1).uniform(-0.5, 0.5, (8_000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "stereo.flac", stereo, 44_100)

    async def main() -> None:
        async with pool_of(tmp_path, workers=2) as pool:
            paths = [*recordings, tmp_path / "stereo.flac"]
            found = await asyncio.gather(*(pool.decode(path, sample_rate_hz=16_000) for path in paths))
            for path, decoded in zip(paths, found, strict=True):
                with closing(decoded):
                    expected = decode_audio(path, sample_rate_hz=16_000)
                    np.testing.assert_array_equal(decoded.waveform, expected)
                    np.testing.assert_array_equal(decode_audio(decoded.path), expected)
                    assert decoded.duration_s == len(expected) / 16_000
                    assert decoded.path.stat().st_mode & 0o777 == 0o600

    asyncio.run(main())


def test_a_worker_has_no_sockets_and_little_memory(tmp_path: Path) -> None:
    async def main() -> None:
        async with pool_of(tmp_path) as pool:
            (pid,) = pool.pids()
            opened = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            assert not any(target.startswith("socket:") for target in opened)
            limits = Path(f"/proc/{pid}/limits").read_text()
            rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
            assert rows["Max open files"] == ["32", "32"]
            assert rows["Max core file size"] == ["0", "0"]
            assert int(rows["Max address space"][1]) < (1 << 30)
            assert os.getsid(pid) == pid
            assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()

    os.environ["SECRET"] = "1"
    try:
        asyncio.run(main())
    finally:
        del os.environ["SECRET"]


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    path = long_file(tmp_path, minutes=10)

    async def main() -> None:
        async with pool_of(tmp_path) as pool:
            (first,) = pool.pids()
            work = asyncio.create_task(pool.decode(path, sample_rate_hz=16_000))
            await asyncio.sleep(0.15)
            os.kill(first, signal.SIGKILL)
            with closing(await work) as decoded:
                assert decoded.duration_s == 600.0
            assert first not in pool.pids()

    asyncio.run(main())


def test_workers_killed_while_idle_cost_no_try(tmp_path: Path, recordings: list[Path]) -> None:
    """Both of them, so that a file which met one would meet the other next, and be given up."""

    async def main() -> None:
        async with pool_of(tmp_path, workers=2) as pool:
            killed = pool.pids()
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
                while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    await asyncio.sleep(0.01)
            (await pool.decode(recordings[0], sample_rate_hz=16_000)).close()
            assert pool.waiting == 0
            assert not set(killed) & set(pool.pids())

    asyncio.run(main())


def test_killed_again_the_request_fails_and_the_next_does_not(tmp_path: Path, recordings: list[Path]) -> None:
    path = long_file(tmp_path, minutes=20)

    async def main() -> None:
        async with pool_of(tmp_path) as pool:
            work = asyncio.create_task(pool.decode(path, sample_rate_hz=16_000))
            killed: set[int] = set()
            while not work.done():
                for pid in set(pool.pids()) - killed:
                    killed.add(pid)
                    await asyncio.sleep(0.1)
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.01)
            with pytest.raises(RunFailed, match="killed twice"):
                work.result()
            assert len(killed) == 2
            (await pool.decode(recordings[0], sample_rate_hz=16_000)).close()

    asyncio.run(main())


def test_a_crash_is_the_fault_of_the_file(tmp_path: Path) -> None:
    path = long_file(tmp_path, minutes=10)

    async def main() -> None:
        async with pool_of(tmp_path) as pool:
            work = asyncio.create_task(pool.decode(path, sample_rate_hz=16_000))
            await asyncio.sleep(0.15)
            os.kill(pool.pids()[0], signal.SIGSEGV)
            with pytest.raises(DecodingFailed, match="crash"):
                await work

    asyncio.run(main())


def test_what_takes_too_long_is_ended(tmp_path: Path, recordings: list[Path]) -> None:
    path = long_file(tmp_path, minutes=20)

    async def main() -> None:
        async with pool_of(tmp_path, time_limit_s=0.3) as pool:
            began = time.monotonic()
            with pytest.raises(DecodingFailed, match="took too long"):
                await pool.decode(path, sample_rate_hz=16_000)
            assert time.monotonic() - began < 1.0
            (await pool.decode(recordings[0], sample_rate_hz=16_000)).close()

    asyncio.run(main())


def test_whoever_leaves_frees_the_worker(tmp_path: Path, recordings: list[Path]) -> None:
    path = long_file(tmp_path, minutes=30)

    async def main() -> None:
        async with pool_of(tmp_path) as pool:
            (first,) = pool.pids()
            running = asyncio.create_task(pool.decode(path, sample_rate_hz=16_000))
            waiting = asyncio.create_task(pool.decode(path, sample_rate_hz=16_000))
            await asyncio.sleep(0.2)
            assert pool.waiting == 1
            waiting.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert pool.waiting == 0
            running.cancel()
            began = time.monotonic()
            while Path(f"/proc/{first}").exists() and time.monotonic() - began < 5:
                await asyncio.sleep(0.01)
            assert time.monotonic() - began < 1.0
            (await pool.decode(recordings[0], sample_rate_hz=16_000)).close()

    asyncio.run(main())


def test_too_many_are_refused_at_once_and_the_others_go_in_order(tmp_path: Path, recordings: list[Path]) -> None:
    path = long_file(tmp_path, minutes=5)
    order: list[int] = []

    async def main() -> None:
        async with pool_of(tmp_path, max_waiting=3) as pool:

            async def decode(number: int) -> None:
                (await pool.decode(path if number == 0 else recordings[0], sample_rate_hz=16_000)).close()
                order.append(number)

            tasks = [asyncio.create_task(decode(number)) for number in range(4)]
            await asyncio.sleep(0.05)
            took_s = []
            for _ in range(3):  # a busy machine may hold up one of them
                began = time.monotonic()
                with pytest.raises(QueueFull) as refusal:
                    await pool.decode(recordings[0], sample_rate_hz=16_000)
                took_s.append(time.monotonic() - began)
            assert min(took_s) < 0.05
            assert refusal.value.retry_after_s >= 1
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert order == [0, 1, 2, 3]


@pytest.mark.slow  # an hour has to be encoded first
def test_an_hour_in_a_megabyte_is_refused_while_it_is_decoded(tmp_path: Path) -> None:
    """1 h of silence in Opus, against 10 minutes: neither this process nor the disk takes the whole of it."""
    import av

    path = tmp_path / "hour.opus"
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = 6_000
        stream.options = {"compression_level": "0", "frame_duration": "60"}
        silent = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.int16), format="s16", layout="mono")
        silent.sample_rate = 48_000
        for second in range(3600):
            silent.pts = 48_000 * second
            container.mux(stream.encode(silent))
        container.mux(stream.encode(None))
    assert path.stat().st_size < 1 << 20

    async def main() -> None:
        async with pool_of(tmp_path, limits=DecodeLimits(max_duration_s=600.0)) as pool:
            before, began = resident(os.getpid()), time.monotonic()
            with pytest.raises(AudioLimitError, match="1 h"):
                await pool.decode(path, sample_rate_hz=16_000)
            assert time.monotonic() - began < 5.0
            assert resident(os.getpid()) - before < 64 << 20
            assert resident(pool.pids()[0]) < 200 << 20

    asyncio.run(main())


def test_four_hours_stay_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1, format="FLAC") as file:
        for _ in range(240):
            file.write(np.zeros(60 * 8_000, np.int16))

    async def main() -> None:
        async with pool_of(tmp_path) as pool:
            before = resident(os.getpid())
            with closing(await pool.decode(path, sample_rate_hz=8_000)) as decoded:
                assert decoded.duration_s == 14_400.0
                assert len(decoded.waveform) == 14_400 * 8_000
                assert resident(os.getpid()) - before < 64 << 20
                assert resident(pool.pids()[0]) < 200 << 20

    asyncio.run(main())


def test_a_worker_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.serving.decoding.process.MODULE", "harken.serving.no_such_module")

    async def main() -> None:
        pool = DecodePool(DecodeSettings(folder=tmp_path, workers=1))
        with pytest.raises(RunFailed, match="did not start"):
            await pool.decode(tmp_path / "a.wav", sample_rate_hz=16_000)
        assert pool.failure is not None
        await pool.close()

    asyncio.run(main())


def test_starting_and_closing_block_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        pool = DecodePool(DecodeSettings(folder=tmp_path / "decoded", workers=2))
        began = time.monotonic()
        pool.start()
        assert time.monotonic() - began < 0.05
        waiting = asyncio.create_task(pool.decode(tmp_path / "a.wav", sample_rate_hz=16_000))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises((RunFailed, DamagedAudio)):
            await waiting
        with pytest.raises(QueueFull):
            await pool.decode(tmp_path / "a.wav", sample_rate_hz=16_000)

    asyncio.run(main())


def resident(pid: int) -> int:
    """Bytes of a process in memory, but for files it has mapped."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
