"""Files through the whole of it: texts are the recognizer's own, work is shared and cached, nothing stays behind."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.audio.limits import AudioDecodeError
from harken.core import InputError, Recognizer, Transcript
from harken.http.errors import RateExceeded
from harken.inference.config import EngineConfig
from harken.inference.engines import load
from harken.serving import transcription
from harken.serving.cached_transcripts import read_transcript, written_transcript
from harken.serving.contract import Priority, TranscribeOptions, Transcription, TranscriptionService
from harken.serving.decoding.pool import DecodePool
from harken.serving.decoding.settings import DecodeSettings
from harken.serving.errors import QueueFull, UnknownModel
from harken.serving.metrics import ServerMetrics
from harken.serving.scheduling.model_queue import ModelQueue
from harken.serving.scheduling.settings import QueueSettings
from harken.serving.served.models import ServedModels
from harken.serving.served.settings import ModelsSettings, ServedModel
from harken.serving.transcription import ResultSettings, Transcriber

ON_CPU = EngineConfig(device="cpu", threads=1)
PLAIN = TranscribeOptions()


class Shelf:
    """A cache in memory."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        assert ttl_s == 3600.0
        self.values[key] = value


class Server:
    """The parts behind the routes."""

    def __init__(self, folder: Path, model: Path, *, cache: Shelf | None, queue: QueueSettings | None) -> None:
        self.metrics = ServerMetrics()
        served = ServedModel(path=model, settings=ON_CPU)
        self.models = ServedModels(ModelsSettings(models=(served,)), metrics=self.metrics)
        self.decoded = folder / "decoded"
        self.decoder = DecodePool(DecodeSettings(folder=self.decoded))
        self.service: TranscriptionService = Transcriber(
            models=self.models, decoder=self.decoder, metrics=self.metrics, cache=cache, queue=queue
        )

    @property
    def transcriber(self) -> Transcriber:
        assert isinstance(self.service, Transcriber)
        return self.service


@asynccontextmanager
async def server_of(
    folder: Path, model: Path, *, cache: Shelf | None = None, queue: QueueSettings | None = None
) -> AsyncIterator[Server]:
    server = Server(folder, model, cache=cache, queue=queue)
    server.decoder.start()
    await server.models.start()
    try:
        yield server
        assert server.transcriber.queue(server.models.find("default").name).in_house == 0
    finally:
        await server.transcriber.close()
        await server.decoder.close()
        await server.models.close()
    assert list(server.decoded.iterdir()) == []


@pytest.fixture(scope="module")
def recognizer(tiny_model: Path) -> Recognizer:
    return load(tiny_model, config=ON_CPU)


@pytest.fixture(scope="module")
def expected(recognizer: Recognizer, recordings: list[Path]) -> list[Transcript]:
    return [recognizer.transcribe(path) for path in recordings]


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s in stereo at 44.1 kHz."""
    path = tmp_path_factory.mktemp("long") / "long.flac"
    draw = np.random.default_rng(9)
    soundfile.write(path, 0.2 * draw.standard_normal((40 * 44_100, 2)).clip(-4, 4), 44_100)
    return path


def test_texts_are_those_of_the_recognizer_together_and_alone(
    tmp_path: Path, tiny_model: Path, recordings: list[Path], expected: list[Transcript]
) -> None:
    assert len({transcript.text for transcript in expected}) > 4

    async def main() -> tuple[list[Transcription], list[Transcription]]:
        async with server_of(tmp_path, tiny_model) as server:
            alone = [await server.service.transcribe(path, PLAIN) for path in recordings]
            together = await asyncio.gather(*(server.service.transcribe(path, PLAIN) for path in recordings))
            assert server.metrics.stats()["totals"] == {"heard": 2 * len(recordings)}
            return alone, together

    alone, together = asyncio.run(main())
    assert [found.transcript for found in alone] == expected
    assert [found.transcript.text for found in together] == [transcript.text for transcript in expected]
    assert {found.batch_size for found in alone} == {1}
    assert max(found.batch_size for found in together) > 1
    assert {found.model for found in together} == {"tiny"}
    for found in together:
        timings = found.timings
        assert timings.decode_s > 0
        assert timings.inference_s > 0
        assert timings.total_s >= timings.decode_s + timings.queue_s + timings.inference_s


def test_long_audio_is_read_from_its_file(
    tmp_path: Path, tiny_model: Path, recognizer: Recognizer, long_recording: Path
) -> None:
    async def main() -> Transcript:
        async with server_of(tmp_path, tiny_model) as server:
            return (await server.service.transcribe(long_recording, PLAIN)).transcript

    found = asyncio.run(main())
    assert found == recognizer.transcribe(long_recording)
    assert found.text


def test_equal_files_at_the_same_time_are_heard_once(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    copies = [Path(shutil.copy(recordings[4], tmp_path / f"{number}.wav")) for number in range(5)]

    async def main() -> list[Transcription]:
        async with server_of(tmp_path, tiny_model) as server:
            found = await asyncio.gather(*(server.service.transcribe(copy, PLAIN) for copy in copies))
            assert sum(server.metrics.stats()["batching"]["sizes"].values()) == 1
            return found

    assert len({found.transcript.text for found in asyncio.run(main())}) == 1


def test_when_the_one_who_works_leaves_another_goes_on(
    tmp_path: Path, tiny_model: Path, long_recording: Path, recognizer: Recognizer
) -> None:
    copies = [Path(shutil.copy(long_recording, tmp_path / f"{number}.flac")) for number in range(3)]

    async def main() -> list[Transcription]:
        async with server_of(tmp_path, tiny_model) as server:
            tasks = [asyncio.create_task(server.service.transcribe(copy, PLAIN)) for copy in copies]
            while not server.transcriber._under_way:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            tasks[0].cancel()
            copies[0].unlink()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            tasks[1].cancel()  # who only waits takes nobody's work away
            return [await tasks[2]]

    (found,) = asyncio.run(main())
    assert found.transcript == recognizer.transcribe(long_recording)


def test_a_result_is_kept_by_content_model_and_options(
    tmp_path: Path, tiny_model: Path, other_model: Path, recordings: list[Path], expected: list[Transcript]
) -> None:
    cache = Shelf()

    async def main() -> None:
        async with server_of(tmp_path, tiny_model, cache=cache) as server:
            copy = Path(shutil.copy(recordings[1], tmp_path / "copy.wav"))
            assert not (await server.service.transcribe(recordings[1], PLAIN)).cached
            again = await server.service.transcribe(copy, TranscribeOptions(model="whisper-1"))
            assert (again.cached, again.transcript, again.model) == (True, expected[1], "tiny")
            told = await server.service.transcribe(copy, TranscribeOptions(language="en"))
            assert not told.cached
            await server.models.swap("tiny", other_model)
            swapped = await server.service.transcribe(copy, PLAIN)
            assert not swapped.cached
            assert swapped.transcript.text == load(other_model, config=ON_CPU).transcribe(copy).text
            assert swapped.transcript.text != expected[1].text
            for key in cache.values:
                cache.values[key] = b"{}"
            assert not (await server.service.transcribe(copy, PLAIN)).cached

    asyncio.run(main())


def test_results_are_kept_for_each_caller(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    async def cached(*owners: str, shared: bool) -> list[bool]:
        async with server_of(tmp_path, tiny_model, cache=Shelf()) as server:
            server.transcriber._results = ResultSettings(share_between_callers=shared)
            return [(await server.service.transcribe(recordings[0], PLAIN, owner=owner)).cached for owner in owners]

    assert asyncio.run(cached("ann", "bob", "ann", shared=False)) == [False, False, True]
    assert asyncio.run(cached("ann", "bob", "ann", shared=True)) == [False, True, True]


def test_who_is_refused_for_lack_of_room_is_not_charged(
    tmp_path: Path, tiny_model: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelQueue, "waiting_audio_s", 100_000.0)
    told: list[float] = []

    async def admit(audio_s: float) -> None:
        told.append(audio_s)

    async def main() -> None:
        async with server_of(tmp_path, tiny_model) as server:
            with pytest.raises(QueueFull):
                await server.service.transcribe(recordings[0], PLAIN, admit=admit)

    asyncio.run(main())
    assert told == []


def test_audio_is_heard_only_where_it_is_admitted(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    told: list[float] = []

    async def admit(audio_s: float) -> None:
        told.append(audio_s)

    async def refuse(audio_s: float) -> None:
        raise RateExceeded(f"{audio_s:g} s are too many.")

    async def main() -> tuple[list[float], int]:
        async with server_of(tmp_path, tiny_model, cache=Shelf()) as server:
            service, audio = server.service, recordings[0]
            with pytest.raises(RateExceeded):
                await service.transcribe(audio, PLAIN, admit=refuse)
            unheard = server.metrics.stats()["batching"]["passes"]
            # One who may not share the work of two who may, and comes first.
            first, *others = await asyncio.gather(
                service.transcribe(audio, PLAIN, admit=refuse),
                service.transcribe(audio, PLAIN, admit=admit),
                service.transcribe(audio, PLAIN, admit=admit),
                return_exceptions=True,
            )
            assert isinstance(first, RateExceeded)
            await service.transcribe(audio, PLAIN, admit=admit)  # out of the cache
            with pytest.raises(RateExceeded):
                await service.transcribe(audio, PLAIN, admit=refuse)
            assert server.metrics.stats()["batching"]["passes"] == 1
            return [found.transcript.duration_s for found in others if isinstance(found, Transcription)], unheard

    durations_s, unheard = asyncio.run(main())
    assert unheard == 0
    assert len(durations_s) == 2
    assert told == pytest.approx([durations_s[0]] * 3, abs=1e-6)


def test_what_cannot_be_heard_is_refused_and_counted(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    (tmp_path / "text.wav").write_text("not audio")

    async def main() -> None:
        async with server_of(tmp_path, tiny_model) as server:
            with pytest.raises(AudioDecodeError):
                await server.service.transcribe(tmp_path / "text.wav", PLAIN)
            with pytest.raises(UnknownModel, match="no model 'gpt-5'"):
                await server.service.transcribe(recordings[0], TranscribeOptions(model="gpt-5"))
            with pytest.raises(InputError, match="prompt is given"):
                await server.service.transcribe(recordings[0], TranscribeOptions(prompt="hello"))
            assert server.metrics.stats()["totals"] == {"not decoded: not_audio": 1}

    asyncio.run(main())


def test_a_full_house_refuses_within_50_ms(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    async def main() -> None:
        async with server_of(tmp_path, tiny_model, queue=QueueSettings(max_requests=2)) as server:
            tasks = [asyncio.create_task(server.service.transcribe(path, PLAIN)) for path in recordings[:2]]
            await asyncio.sleep(0)
            took_s = []
            for _ in range(3):  # a busy machine may hold up one of them
                began = time.monotonic()
                with pytest.raises(QueueFull):
                    await server.service.transcribe(recordings[2], PLAIN)
                took_s.append(time.monotonic() - began)
            assert min(took_s) < 0.05
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_draining_waits_for_answers(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    async def main() -> None:
        async with server_of(tmp_path, tiny_model) as server:
            task = asyncio.create_task(server.service.transcribe(recordings[0], PLAIN, priority=Priority.JOB))
            await asyncio.sleep(0)
            assert not await server.transcriber.drain(0.0)
            assert await server.transcriber.drain(10.0)
            assert task.done()

    asyncio.run(main())


def test_transcripts_survive_the_cache(expected: list[Transcript]) -> None:
    assert [read_transcript(written_transcript(transcript)) for transcript in expected] == expected
    damaged: list[Any] = [b"", b"[]", b'{"segments": [{}]}', b'{"segments": [], "new": 1}']
    assert [read_transcript(value) for value in damaged] == [None] * 4


def test_settings_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="keep_s is 0; use seconds above 0"):
        ResultSettings(keep_s=0)


def test_hours_of_text_are_written_and_read_in_threads(
    tmp_path: Path, tiny_model: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[tuple[str, bool]] = []

    def noted(name: str, real: Any) -> Any:
        def call(value: Any) -> Any:
            where.append((name, threading.current_thread() is threading.main_thread()))
            return real(value)

        return call

    for name, real in (("written_transcript", written_transcript), ("read_transcript", read_transcript)):
        monkeypatch.setattr(transcription, name, noted(name, real))

    async def main() -> None:
        async with server_of(tmp_path, tiny_model, cache=Shelf()) as server:
            first, second = [await server.service.transcribe(recordings[0], PLAIN) for _ in range(2)]
            assert (first.cached, second.cached) == (False, True)
            assert second.transcript == first.transcript

    asyncio.run(main())
    assert where == [("written_transcript", False), ("read_transcript", False)]
