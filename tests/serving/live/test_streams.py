"""Live streams: what they tell, how they share, and that nothing of one outlives it."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.inference.streaming.conftest import noise
from tests.serving.live.stream_models import OneModel, SlowReader, heard, pcm, until

from harken.core import InputError, RunFailed
from harken.inference.streaming import (
    Committed,
    Endpoint,
    EndpointConfig,
    Final,
    Partial,
    StreamingASR,
    StreamingConfig,
)
from harken.serving.contract import LiveOptions
from harken.serving.errors import QueueFull, StreamFlooded, UnknownModel
from harken.serving.live.settings import LiveSettings
from harken.serving.live.streams import LiveStreams
from harken.serving.scheduling.stream_load import StreamLoad

FIXED = StreamingConfig(policy="fixed")


def streams_of(recognizer, **settings) -> tuple[LiveStreams, OneModel, StreamLoad]:
    models, load = OneModel(recognizer), StreamLoad()
    return LiveStreams(models, LiveSettings(**settings), load), models, load


async def collect(stream) -> list:
    return [event async for event in stream.events()]


async def whole(streams: LiveStreams, raw: bytes, *, piece: int = 3_333, options: LiveOptions | None = None) -> list:
    """All events of a stream whose audio is sent as fast as it is taken."""
    async with streams.open(options or LiveOptions()) as stream:
        reading = asyncio.create_task(collect(stream))
        for first in range(0, len(raw), piece):
            await stream.push(raw[first : first + piece])
        await stream.finish()
        events = await reading
        assert stream.heard_s == len(raw) / 32_000
    return events


def told_for_good(events: list) -> list:
    return [event for event in events if not isinstance(event, Partial)]


def test_a_stream_tells_what_the_recognizer_tells_of_the_same_audio(speaker) -> None:
    raw = pcm(noise(6))
    session = StreamingASR(speaker).session()
    expected = [*session.push(heard(raw)), *session.finish()]
    assert expected[-1].text
    for piece in (997, 100_000):
        streams, models, load = streams_of(speaker)
        events = asyncio.run(whole(streams, raw, piece=piece))
        assert told_for_good(events) == told_for_good(expected)
        assert (streams.open_streams, models.in_use, load.pending) == (0, 0, 0)
        streams.close()


def test_partials_say_how_far_the_stream_was_heard(speaker) -> None:
    async def run() -> None:
        streams, _, _ = streams_of(speaker)
        async with streams.open(LiveOptions(sample_rate_hz=8_000)) as stream:
            events = stream.events()
            await stream.push(bytes(1_000))
            assert await anext(events) == Partial(text="", at_s=500 / 8_000)
            assert stream.heard_s == 500 / 8_000
        streams.close()

    asyncio.run(run())


def test_a_flush_commits_what_is_open_and_times_go_on(speaker) -> None:
    raw = pcm(noise(4))
    half = len(raw) // 2
    asr, expected = StreamingASR(speaker), []
    for begin_s, part in ((0.0, raw[:half]), (2.0, raw[half:])):
        session = asr.session()
        told = [*session.push(heard(part)), *session.finish()]
        expected += [
            (word.text, pytest.approx(word.start_s + begin_s), pytest.approx(word.end_s + begin_s))
            for event in told
            if isinstance(event, Committed)
            for word in event.words
        ]

    async def run() -> list:
        streams, _, _ = streams_of(speaker)
        async with streams.open(LiveOptions()) as stream:
            reading = asyncio.create_task(collect(stream))
            await stream.push(raw[:half])
            await stream.flush()
            await stream.flush()
            await stream.push(raw[half:])
            await stream.finish()
            events = await reading
        streams.close()
        return events

    events = asyncio.run(run())
    words = [word for event in events if isinstance(event, Committed) for word in event.words]
    assert [(word.text, word.start_s, word.end_s) for word in words] == expected
    flushed = [event for event in events if isinstance(event, Endpoint) and event.rule == "flush"]
    assert flushed == [Endpoint(rule="flush", silence_s=2.0, at_s=2.0)] * 2
    before = [event for event in events[: events.index(flushed[0])] if isinstance(event, Committed)]
    assert before
    assert all(word.end_s <= 2.0 + 1e-6 for event in before for word in event.words)
    assert events[-1].at_s == 4.0
    assert events[-1].text.split() == [word.text for word in words]
    assert "\n" in events[-1].text


def test_streams_in_parallel_hear_each_their_own_audio(speaker) -> None:
    """One StreamingASR is shared by sessions in several threads."""
    raws = [pcm(noise(3, seed)) for seed in range(6)]
    asr, expected = StreamingASR(speaker), []
    for raw in raws:
        session = asr.session()
        expected.append(told_for_good([*session.push(heard(raw)), *session.finish()]))

    async def run() -> list:
        streams, models, load = streams_of(speaker, threads=3, chunk_s=0.1)
        found = await asyncio.gather(*(whole(streams, raw) for raw in raws))
        assert (models.in_use, load.pending, len(streams._asrs._shared)) == (0, 0, 0)
        streams.close()
        return found

    assert [told_for_good(events) for events in asyncio.run(run())] == expected


def test_turns_are_fair() -> None:
    """A stream with much audio waiting does not keep another from being heard."""

    async def run() -> None:
        reader = SlowReader(0.02)
        streams, _, _ = streams_of(
            reader, threads=1, chunk_s=0.5, backlog_s=60, streaming=StreamingConfig(policy="fixed")
        )
        async with streams.open(LiveOptions()) as greedy, streams.open(LiveOptions()) as modest:
            await greedy.push(bytes(32_000 * 60))
            first = modest.events()
            await modest.push(bytes(32_000))
            before = reader.calls
            assert (await anext(first)).at_s > 0
            assert reader.calls - before <= 3
        streams.close()

    asyncio.run(run())


def test_who_sends_faster_than_it_is_heard_waits_and_memory_stays_bounded() -> None:
    async def run() -> None:
        streams, _, _ = streams_of(SlowReader(0.005), streaming=FIXED, backlog_s=2.0, chunk_s=0.5)
        most = 0.0
        async with streams.open(LiveOptions()) as stream:
            reading = asyncio.create_task(collect(stream))

            async def watch() -> None:
                nonlocal most
                while not reading.done():
                    most = max(most, stream._backlog.samples / 16_000)
                    await asyncio.sleep(0)

            watching, raw = asyncio.create_task(watch()), bytes(60 * 32_000)
            await stream.push(raw[: 1 << 20])  # 33 s in one message
            await stream.push(raw[1 << 20 :])
            await stream.finish()
            events = await reading
            await watching
        streams.close()
        assert events[-1].at_s == 60.0
        assert 2.0 <= most <= 2.5

    asyncio.run(run())


def test_messages_of_a_byte_take_no_more_memory_than_their_audio() -> None:
    async def run() -> None:
        reader = SlowReader()
        streams, _, _ = streams_of(reader, streaming=FIXED, threads=1)
        async with streams.open(LiveOptions()) as stream:
            streams._turns._threads = 0  # nothing is heard
            for _ in range(4_000):
                await stream.push(b"\0")
            assert (stream._backlog.samples, len(stream._backlog._items)) == (2_000, 1)
        streams.close()

    asyncio.run(run())


def test_a_stream_that_makes_no_progress_is_refused() -> None:
    async def run() -> None:
        streams, _, load = streams_of(SlowReader(), streaming=FIXED, backlog_s=1.0, patience_s=0.05)
        async with streams.open(LiveOptions()) as stream:
            streams._turns._threads = 0
            with pytest.raises(StreamFlooded, match=r"no room for 0\.05 s"):
                await stream.push(bytes(320_000))
            assert stream._backlog.samples == 0
            with pytest.raises(StreamFlooded):
                await stream.push(bytes(2))
            with pytest.raises(StreamFlooded):
                await collect(stream)
        assert load.pending == 0
        streams.close()

    asyncio.run(run())


def test_many_flushes_wait_too() -> None:
    async def run() -> None:
        streams, _, _ = streams_of(SlowReader(), streaming=FIXED, patience_s=0.05)
        async with streams.open(LiveOptions()) as stream:
            streams._turns._threads = 0
            for _ in range(16):
                await stream.flush()
            with pytest.raises(StreamFlooded):
                await stream.flush()
        streams.close()

    asyncio.run(run())


def test_a_client_that_does_not_read_stops_its_own_stream_only(speaker) -> None:
    async def run() -> None:
        settings = {"waiting_events": 8, "backlog_s": 1.0, "chunk_s": 0.1, "patience_s": 0.3}
        streams, _, load = streams_of(speaker, **settings)
        raw = pcm(noise(60))
        async with streams.open(LiveOptions()) as deaf:
            with pytest.raises(StreamFlooded, match="does not read"):
                await deaf.push(raw)
            assert 8 <= len(deaf._told) <= 20
            assert told_for_good(await whole(streams, raw[:96_000]))[-1].at_s == 3.0
            kept = [event async for event in _until_error(deaf)]
            committed = [word.text for event in kept if isinstance(event, Committed) for word in event.words]
            session = StreamingASR(speaker).session()
            expected = [e for e in session.push(heard(raw)) if isinstance(e, Committed)]
            assert committed == [word.text for event in expected for word in event.words][: len(committed)] != []
        assert load.pending == 0
        streams.close()

    asyncio.run(run())


async def _until_error(stream):
    try:
        async for event in stream.events():
            yield event
    except StreamFlooded:
        return
    raise AssertionError("the stream did not fail")


def test_unread_partials_are_replaced() -> None:
    async def run() -> None:
        streams, _, load = streams_of(SlowReader(), streaming=FIXED)
        async with streams.open(LiveOptions()) as stream:
            for _ in range(20):
                await stream.push(bytes(640))
                await until(lambda: load.pending == 0)
            assert list(stream._told) == [Partial(text="", at_s=0.4)]
        streams.close()

    asyncio.run(run())


def test_only_so_many_streams() -> None:
    async def run() -> None:
        streams, models, _ = streams_of(SlowReader(), streams=2, streaming=FIXED)
        async with streams.open(LiveOptions()), streams.open(LiveOptions()):
            with pytest.raises(QueueFull, match="2 streams are open"):
                async with streams.open(LiveOptions()):
                    raise AssertionError
            assert models.in_use == 2
        async with streams.open(LiveOptions()) as stream:
            assert stream.model == "tiny"
        assert (streams.open_streams, models.in_use) == (0, 0)
        streams.close()

    asyncio.run(run())


def test_who_leaves_gives_up_everything(speaker) -> None:
    async def run() -> None:
        streams, models, load = streams_of(speaker, threads=1, backlog_s=30)
        entered = asyncio.Event()

        async def client() -> None:
            async with streams.open(LiveOptions()) as stream:
                entered.set()
                await stream.push(pcm(noise(30)))
                await asyncio.Event().wait()

        task = asyncio.create_task(client())
        await entered.wait()
        await asyncio.sleep(0.02)
        began_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began_s < 1.0
        assert (streams.open_streams, models.in_use, load.pending) == (0, 0, 0)
        assert not streams._turns._working
        streams.close()

    asyncio.run(run())


def test_a_push_that_waits_ends_with_its_stream() -> None:
    async def run() -> None:
        streams, _, _ = streams_of(SlowReader(), streaming=FIXED, backlog_s=1.0)
        async with streams.open(LiveOptions()) as stream:
            streams._turns._threads = 0
            pushing = asyncio.create_task(stream.push(bytes(320_000)))
            await asyncio.sleep(0.01)
        with pytest.raises(InputError, match="has ended"):
            await pushing
        with pytest.raises(InputError, match="has ended"):
            await stream.flush()
        streams.close()

    asyncio.run(run())


def test_an_engine_that_breaks_fails_its_stream() -> None:
    async def run() -> None:
        reader = SlowReader(error=ValueError("boom"))
        streams, models, _ = streams_of(reader, streaming=FIXED)
        async with streams.open(LiveOptions()) as stream:
            await stream.push(bytes(32_000 * 3))
            with pytest.raises(RunFailed, match="failed on this stream"):
                await collect(stream)
            with pytest.raises(RunFailed):
                await stream.push(bytes(2))
        reader.error = None
        assert (await whole(streams, bytes(64_000)))[-1].at_s == 2.0
        assert models.in_use == 0
        streams.close()

    asyncio.run(run())


def test_what_a_stream_refuses(speaker) -> None:
    async def refused(options: LiveOptions, **settings) -> None:
        streams, models, _ = streams_of(speaker, **settings)
        try:
            async with streams.open(options) as stream:
                await stream.push(bytes(64_000))
        finally:
            assert (streams.open_streams, models.in_use) == (0, 0)
            streams.close()

    with pytest.raises(UnknownModel):
        asyncio.run(refused(LiveOptions(model="other")))
    for pause_s in (0.0, -1.0, float("nan"), 61.0):
        with pytest.raises(InputError, match="pause is"):
            asyncio.run(refused(LiveOptions(endpoint_pause_s=pause_s)))
    with pytest.raises(InputError, match="sample_rate is 1"):
        asyncio.run(refused(LiveOptions(sample_rate_hz=1)))
    with pytest.raises(InputError, match="no endpoints"):
        asyncio.run(refused(LiveOptions(endpoint_pause_s=1.0), streaming=FIXED))
    with pytest.raises(StreamFlooded, match="longer than 1 s"):
        asyncio.run(refused(LiveOptions(), longest_s=1.0))


def test_endpoints_are_what_the_client_asks_for(pausing) -> None:
    async def rules(options: LiveOptions) -> list[str]:
        streams, _, _ = streams_of(pausing, streaming=StreamingConfig(endpoint=EndpointConfig(longest_s=3.0)))
        raw = pcm(np.concatenate([noise(1), np.zeros(48_000, np.float32)] * 2))
        events = await whole(streams, raw, options=options)
        streams.close()
        return [event.rule for event in events if isinstance(event, Endpoint)]

    plain = LiveOptions()
    assert {*asyncio.run(rules(replace(plain, endpoint_pause_s=0.5)))} == {"pause"}
    assert {*asyncio.run(rules(replace(plain, endpoint_pause_s=10.0)))} == {"longest"}
    assert asyncio.run(rules(replace(plain, endpointing=False))) == []


def test_the_language_is_asked_of_the_models(speaker) -> None:
    async def run() -> None:
        streams, models, _ = streams_of(speaker)
        async with streams.open(LiveOptions(language="uz")):
            assert [(o.model, o.language) for o in models.asked] == [("tiny", "uz")]
        streams.close()

    asyncio.run(run())


def test_a_second_finish_does_nothing_and_then_no_audio_is_taken(speaker) -> None:
    async def run() -> None:
        streams, _, _ = streams_of(speaker)
        async with streams.open(LiveOptions()) as stream:
            await stream.finish()
            await stream.finish()
            assert await collect(stream) == [Final(text="", at_s=0.0)]
            with pytest.raises(InputError, match="has ended"):
                await stream.push(bytes(2))
        streams.close()

    asyncio.run(run())


def test_an_idle_stream_takes_less_than_2_mib(speaker) -> None:
    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096 / (1 << 20)

    async def run() -> None:
        streams, _, load = streams_of(speaker)
        raw = pcm(noise(1))
        await whole(streams, raw)
        before_mib = resident_mib()
        async with AsyncExitStack() as stack:
            for _ in range(30):
                stream = await stack.enter_async_context(streams.open(LiveOptions(sample_rate_hz=8_000)))
                await stream.push(raw)
            await until(lambda: load.pending == 0)
            assert (resident_mib() - before_mib) / 30 < 2
        streams.close()

    asyncio.run(run())
