"""The queue of a model: who shares a pass, who is refused, who leaves, and what a broken engine does to others."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, RunFailed, Transcript, Waveform
from harken.core.stopping import check_stop
from harken.serving.contract import Priority
from harken.serving.decoding.decoded import DecodedAudio, write_samples
from harken.serving.errors import QueueFull
from harken.serving.metrics import ServerMetrics
from harken.serving.scheduling.model_queue import ModelQueue
from harken.serving.scheduling.settings import QueueSettings
from harken.serving.scheduling.stream_load import StreamLoad

RATE = 16_000
REQUEST, JOB = Priority.REQUEST, Priority.JOB


class Listener:
    """Says the first sample of what it hears, in steps of `step_s` for each 10 s of audio, and notes its passes."""

    sample_rate_hz = RATE
    window_s = 30.0

    def __init__(self, *, step_s: float = 0.0) -> None:
        self.step_s = step_s
        self.parallel, self.at_once_s = 1, 30.0
        self.passes: list[list[int]] = []
        self.steps: list[int] = []
        self.broken: Callable[[int], None] = lambda number: None
        self.at_work = 0
        self.most_at_work = 0

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        assert isinstance(audio, Path), "what fits into a window is batched"
        return self._heard([np.fromfile(audio, "<f4", offset=44)])[0]

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        return self._heard(waveforms)

    def _heard(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        numbers = [round(1000 * float(waveform[0])) for waveform in waveforms]
        self.passes.append(numbers)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            for number, waveform in zip(numbers, waveforms, strict=True):
                self.broken(number)
                for _ in range(1 + len(waveform) // (10 * RATE)):
                    check_stop()
                    self.steps.append(number)
                    time.sleep(self.step_s)
        finally:
            self.at_work -= 1
        return [Transcript(text=str(n), duration_s=len(w) / RATE) for n, w in zip(numbers, waveforms, strict=True)]


@pytest.fixture
def audio(tmp_path: Path) -> Callable[[int, float], DecodedAudio]:
    """Makes audio that begins with a number."""

    def make(number: int, duration_s: float = 1.0) -> DecodedAudio:
        samples = np.zeros(int(RATE * duration_s), np.float32)
        samples[0] = number / 1000
        path = tmp_path / f"{number} {duration_s}.samples"
        with open(path, "wb") as file:
            write_samples(file, [samples], sample_rate_hz=RATE)
        return DecodedAudio(path, samples=len(samples), sample_rate_hz=RATE)

    return make


Audio = Callable[..., DecodedAudio]


@asynccontextmanager
async def queue_of(*, load: StreamLoad | None = None, **settings: Any) -> AsyncIterator[ModelQueue]:
    queue = ModelQueue("m", QueueSettings(**settings), metrics=ServerMetrics(), load=load)
    try:
        yield queue
    finally:
        await asyncio.to_thread(queue.close)


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> float:
    """Seconds until something is so."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "it never is"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


def test_one_alone_never_waits_and_many_share_passes(audio: Audio) -> None:
    listener = Listener(step_s=0.05)

    async def main() -> None:
        async with queue_of(max_wait_s=5.0, max_batch=4) as queue:
            began = time.monotonic()
            heard = await queue.hear(audio(1), listener, REQUEST)
            assert time.monotonic() - began < 0.5
            assert (heard.transcript.text, heard.batch_size) == ("1", 1)
            found = await asyncio.gather(*(queue.hear(audio(number), listener, REQUEST) for number in range(2, 9)))
            assert [heard.transcript.text for heard in found] == [str(number) for number in range(2, 9)]

    asyncio.run(main())
    assert listener.passes[0] == [1]
    assert sorted(map(len, listener.passes)) in ([1, 1, 2, 4], [1, 3, 4])
    assert listener.most_at_work == 1


def test_a_recognizer_for_several_threads_is_called_by_several_at_once(audio: Audio) -> None:
    listener = Listener(step_s=0.1)
    listener.parallel, listener.at_once_s = 2, 2.5

    async def main() -> None:
        async with queue_of() as queue:
            with queue.arriving():  # nobody waits for that
                began = time.monotonic()
                found = await asyncio.gather(*(queue.hear(audio(number), listener, REQUEST) for number in range(6)))
                assert time.monotonic() - began < 0.6
            assert [heard.transcript.text for heard in found] == [str(number) for number in range(6)]

    asyncio.run(main())
    assert listener.most_at_work == 2
    assert max(map(len, listener.passes)) == 2


def test_a_pass_waits_for_what_is_being_decoded(audio: Audio) -> None:
    listener = Listener()

    async def main() -> None:
        async with queue_of(max_wait_s=1.0) as queue:
            with queue.arriving():
                first = queue.add(audio(1), listener, REQUEST)
                await asyncio.sleep(0.1)
                second = queue.add(audio(2), listener, REQUEST)
            await asyncio.gather(queue.outcome(first), queue.outcome(second))
            with queue.arriving():
                began = time.monotonic()
                await queue.hear(audio(3), listener, REQUEST)
                assert 0.9 < time.monotonic() - began < 2.0

    asyncio.run(main())
    assert listener.passes == [[1, 2], [3]]


def test_other_options_never_share(audio: Audio) -> None:
    one, other = Listener(step_s=0.02), Listener(step_s=0.02)

    async def main() -> None:
        async with queue_of() as queue:
            await asyncio.gather(*(queue.hear(audio(n), one if n % 2 else other, REQUEST) for n in range(8)))

    asyncio.run(main())
    assert sorted(n for batch in one.passes for n in batch) == [1, 3, 5, 7]
    assert sorted(n for batch in other.passes for n in batch) == [0, 2, 4, 6]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(audio: Audio) -> None:
    listener = Listener(step_s=0.2)

    async def main() -> None:
        async with queue_of(max_requests=2, max_batch=1) as queue:

            async def request(number: int) -> None:
                with queue.place(REQUEST):
                    await queue.hear(audio(number), listener, REQUEST)

            await request(0)  # so that the speed is known: 1 s of audio takes 0.2 s
            tasks = [asyncio.create_task(request(1))]
            await until(lambda: len(listener.passes) == 2)
            tasks += [asyncio.create_task(request(number)) for number in (2, 3)]
            await asyncio.sleep(0)
            assert queue.waiting == 2
            took_s = []
            for _ in range(3):  # a busy machine may hold up one of them
                began = time.monotonic()
                with pytest.raises(QueueFull, match="2 requests wait") as refusal:
                    await request(4)
                took_s.append(time.monotonic() - began)
            assert min(took_s) < 0.05
            assert refusal.value.retry_after_s == 1.0
            await asyncio.gather(*tasks)
            await request(5)
            assert queue.in_house == 0

    asyncio.run(main())


def test_seconds_are_limited_too_but_one_file_may_always_wait(audio: Audio) -> None:
    listener = Listener(step_s=0.2)

    async def main() -> None:
        async with queue_of(max_audio_s=10.0) as queue:
            running = asyncio.create_task(queue.hear(audio(1), listener, REQUEST))
            await until(lambda: listener.at_work == 1)
            waiting = asyncio.create_task(queue.hear(audio(2, 20.0), listener, REQUEST))
            await asyncio.sleep(0)
            with pytest.raises(QueueFull, match="20 s of audio wait"):
                await queue.hear(audio(3), listener, REQUEST)
            assert (await waiting).transcript.text == "2"
            await running

    asyncio.run(main())


def test_jobs_leave_places_for_requests_and_go_behind_them(audio: Audio) -> None:
    listener = Listener(step_s=0.05)

    async def main() -> None:
        async with queue_of(max_requests=4, max_batch=1) as queue, contextlib.AsyncExitStack() as stack:
            stack.enter_context(queue.place(REQUEST))
            running = asyncio.create_task(queue.hear(audio(0), listener, REQUEST))
            await until(lambda: listener.at_work == 1)
            with queue.place(JOB), queue.place(JOB):
                with pytest.raises(QueueFull), queue.place(JOB):
                    pass
                with queue.place(REQUEST):
                    jobs = [asyncio.create_task(queue.hear(audio(n), listener, JOB)) for n in (1, 2)]
                    await asyncio.sleep(0)
                    await queue.hear(audio(3), listener, REQUEST)
            await asyncio.gather(running, *jobs)

    asyncio.run(main())
    assert listener.passes == [[0], [3], [1], [2]]


def test_who_leaves_while_waiting_is_never_heard(audio: Audio) -> None:
    listener = Listener(step_s=0.1)

    async def main() -> None:
        async with queue_of() as queue:
            running = asyncio.create_task(queue.hear(audio(1), listener, REQUEST))
            await until(lambda: listener.at_work == 1)
            leaving = asyncio.create_task(queue.hear(audio(2), listener, REQUEST))
            await asyncio.sleep(0)
            assert queue.waiting_audio_s == 1.0
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert queue.waiting_audio_s == 0.0
            await running

    asyncio.run(main())
    assert listener.passes == [[1]]


@pytest.mark.parametrize("duration_s", [20.0, 3600.0])
def test_a_pass_ends_when_everybody_has_left(audio: Audio, duration_s: float) -> None:
    listener = Listener(step_s=0.2)

    async def main() -> None:
        async with queue_of() as queue:
            tasks = [asyncio.create_task(queue.hear(audio(1, duration_s), listener, REQUEST))]
            await until(lambda: listener.at_work == 1)
            tasks[0].cancel()
            assert await until(lambda: listener.at_work == 0) < 1.0
            assert (await queue.hear(audio(2, 1.0), listener, REQUEST)).transcript.text == "2"

    asyncio.run(main())


def test_a_pass_goes_on_for_whoever_stays(audio: Audio) -> None:
    listener = Listener(step_s=0.1)

    async def main() -> None:
        async with queue_of(max_wait_s=1.0) as queue:
            with queue.arriving():
                works = [queue.add(audio(number, 5.0), listener, REQUEST) for number in (1, 2)]
            tasks = [asyncio.create_task(queue.outcome(work)) for work in works]
            await until(lambda: listener.at_work == 1)
            tasks[0].cancel()
            assert (await tasks[1]).transcript.text == "2"

    asyncio.run(main())
    assert listener.passes == [[1, 2]]


@pytest.mark.parametrize("error", [ValueError("shape"), MemoryError(), InputError("The language is in doubt.")])
def test_only_the_culprit_of_a_batch_fails(audio: Audio, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()

    def broken(number: int) -> None:
        if number == 2:
            raise error

    listener.broken = broken

    async def main() -> list[Any]:
        async with queue_of(max_wait_s=1.0) as queue:
            with queue.arriving():
                works = [queue.add(audio(number), listener, REQUEST) for number in (1, 2, 3)]
            found = await asyncio.gather(*map(queue.outcome, works), return_exceptions=True)
            assert (await queue.hear(audio(4), listener, REQUEST)).transcript.text == "4"
            return found

    one, two, three = asyncio.run(main())
    assert (one.transcript.text, three.transcript.text) == ("1", "3")
    assert (one.batch_size, three.batch_size) == (1, 1)
    if isinstance(error, InputError):
        assert two is error
    else:
        assert isinstance(two, RunFailed)
        assert "shape" not in str(two)
        assert two.__cause__ is error
        assert "the model m failed" in caplog.text


def test_an_error_does_not_say_where_the_samples_lie(audio: Audio) -> None:
    listener, long = Listener(), audio(1, 40.0)

    def broken(number: int) -> None:
        raise InputError(f"{long.path}: The language is in doubt.", hint="Name a default.")

    listener.broken = broken

    async def main() -> None:
        async with queue_of() as queue:
            with pytest.raises(InputError) as refusal:
                await queue.hear(long, listener, REQUEST)
            assert str(refusal.value) == "The language is in doubt. Name a default."

    asyncio.run(main())


def test_short_audio_does_not_wait_behind_long_audio_nor_long_ones_behind_each_other(audio: Audio) -> None:
    listener = Listener(step_s=0.05)

    async def main() -> None:
        async with queue_of(turn_s=0.1) as queue:
            hours = asyncio.create_task(queue.hear(audio(1, 3600.0), listener, REQUEST))
            await until(lambda: listener.at_work == 1)
            began = time.monotonic()
            await queue.hear(audio(2, 5.0), listener, REQUEST)
            assert time.monotonic() - began < 1.0
            assert (await queue.hear(audio(3, 40.0), listener, REQUEST)).transcript.text == "3"
            assert time.monotonic() - began < 5.0
            assert not hours.done()
            hours.cancel()

    asyncio.run(main())
    mixed = [number for number in listener.steps if number != 2]
    assert mixed.index(3) < len(mixed) - 1 - mixed[::-1].index(1), "they took turns"


def test_files_wait_for_streams_but_not_for_ever(audio: Audio) -> None:
    listener, load = Listener(), StreamLoad()

    async def main() -> None:
        async with queue_of(load=load, stream_wait_s=0.3) as queue:
            load.add()
            began = time.monotonic()
            await queue.hear(audio(1), listener, REQUEST)
            assert 0.25 < time.monotonic() - began < 2.0
        async with queue_of(load=load, stream_wait_s=60.0) as queue:
            threading.Timer(0.05, load.remove).start()
            began = time.monotonic()
            await queue.hear(audio(2), listener, REQUEST)
            assert time.monotonic() - began < 20.0

    asyncio.run(main())


def test_closing_ends_what_waits_and_what_runs(audio: Audio) -> None:
    listener = Listener(step_s=0.1)

    async def main() -> None:
        async with queue_of() as queue:
            running = asyncio.create_task(queue.hear(audio(1, 3600.0), listener, REQUEST))
            await until(lambda: listener.at_work == 1)
            began = time.monotonic()
            await asyncio.to_thread(queue.close)
            assert time.monotonic() - began < 1.0
            with pytest.raises(RunFailed, match="stopped"):
                await running
            with pytest.raises(QueueFull, match="about to stop"):
                await queue.hear(audio(2), listener, REQUEST)

    asyncio.run(main())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("m-")]
